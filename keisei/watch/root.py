"""``WatchedRoot``: all runs in a folder, each at an address of its own."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from keisei.config import Server
from keisei.server import create_app, security, sign_in
from keisei.server.access import Access
from keisei.server.answers import LINK, THREADS, Json, read_page
from keisei.server.app import Page
from keisei.server.documents import Alive, RunPage
from keisei.server.models import RunsQuery
from keisei.server.operations import operation, to_routes
from keisei.server.problems import Problem, on_http_exception
from keisei.server.runs import page_of
from keisei.store.runs import describe_run, run_folders
from keisei.watch.run import WatchedRun

IDLE_SECONDS = 60.0
"""Seconds without a request after which a run's files are no longer read."""
MOST_OPEN = 64
"""Maximum number of runs whose files are read at the same time."""


@dataclass(slots=True, eq=False)
class OpenRun:
    """A run whose files are read now."""

    run: WatchedRun
    app: ASGIApp
    requests: int = 0
    """Number of open requests and event streams."""
    used: float = field(default_factory=time.monotonic)
    """Time at which the last request ended."""

    @property
    def idle(self) -> bool:
        return not self.requests and time.monotonic() - self.used > IDLE_SECONDS


class WatchedRoot:
    """The ASGI application of a folder of runs: a list, and ``/runs/ID/`` for each run.

    Use the instance as a context manager around the server. A run's files are read from the first
    request for the run until ``IDLE_SECONDS`` after the last request.
    """

    def __init__(self, root: Path, server: Server) -> None:
        """``root``: the folder, which need not exist yet."""
        self.root = root.absolute()
        self._server = server
        self._access = Access(server, watched=True)
        self.open_runs: dict[str, OpenRun] = {}
        """The runs whose files are read now, by id."""
        self._opening = anyio.Lock()
        self._tasks: TaskGroup
        self._app = self._make_app()

    def _make_app(self) -> Starlette:
        app = Starlette(
            routes=[
                *to_routes([runs, healthz, *sign_in.OPERATIONS]),
                Mount("/runs/{id}", app=self._serve_run),
            ],
            middleware=security.middleware(self._server, self._access),
            exception_handlers={HTTPException: on_http_exception},
        )
        app.router.default = Page("runs.html")
        app.state.access = self._access
        app.state.root = self.root
        app.state.threads = anyio.CapacityLimiter(THREADS)
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        await self._app(scope, receive, send)

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    def close(self) -> None:
        """End all event streams with ``bye``. Later calls do nothing."""
        for opened in self.open_runs.values():
            opened.run.close()

    async def _serve_run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for one run. Raises Problem 404 or 503."""
        found = await self._find(scope["path_params"]["id"])
        found.requests += 1
        try:
            await found.app(scope, receive, send)
        finally:
            found.requests -= 1
            found.used = time.monotonic()

    async def _find(self, id: str) -> OpenRun:
        async with self._opening:
            if id not in self.open_runs:
                folders = await to_thread.run_sync(run_folders, self.root)
                # The id can be any text from a client, so it is only compared with known names.
                path = next((path for path in folders if path.name == id), None)
                if path is None:
                    raise Problem(404, f"There is no run {id!r}.")
                if len(self.open_runs) >= MOST_OPEN:
                    raise Problem(503, f"{MOST_OPEN} runs are open.", headers={"Retry-After": "60"})
                await self._tasks.start(self._watch, path)
            return self.open_runs[id]

    async def _watch(self, path: Path, *, task_status: TaskStatus[None]) -> None:
        async with WatchedRun(path, self._server) as run:
            opened = OpenRun(run, create_app(run, access=self._access, watched=True))
            self.open_runs[path.name] = opened
            task_status.started()
            while not opened.idle:  # noqa: ASYNC110 (nothing happens at the end of the idle time)
                await anyio.sleep(1)
            # Before the end of the block, so that no request finds a run that is being closed.
            del self.open_runs[path.name]


@operation("GET", "/api/runs", query=RunsQuery, answer=RunPage, sends=LINK)
async def runs(request: Request, query: RunsQuery) -> Response:
    """Return at most ``limit=`` runs, newest first; ``after=`` selects the next page."""
    root: Path = request.app.state.root
    access: Access = request.app.state.access

    def read(limit: int, after: str | None) -> list[dict[str, Any]]:
        found = [describe_run(folder) for folder in page_of(run_folders(root), limit, after)]
        for run in found:
            if access.is_public and run["problem"]:
                run["problem"] = "damaged"  # the full text names the server's folders
        return [{**run, "this": False} for run in found]

    return await read_page(request, query, "runs", read)


@operation("GET", "/healthz", answer=Alive)
async def healthz(request: Request) -> Response:
    """Answer 200, which shows that the event loop runs."""
    return Json({"status": "ok"})
