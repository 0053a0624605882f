"""``create_app(source)``: the Starlette application that serves the page and the API of a run."""

import mimetypes
import os
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from keisei.errors import InboxFull, KeyReused, NotRunning
from keisei.feed.distribution import Distribution
from keisei.resources import page_directory
from keisei.server import (
    evaluations,
    games,
    play,
    played,
    prometheus,
    reference,
    routes,
    runs,
    security,
    sign_in,
    stream,
)
from keisei.server.access import Access, path_in_app
from keisei.server.answers import THREADS
from keisei.server.operations import to_routes
from keisei.server.problems import on_http_exception, problem_response
from keisei.server.rates import WriteRate
from keisei.server.source import Source
from keisei.store import DatabaseError, RunError

OPERATIONS = (
    *routes.OPERATIONS,
    *games.OPERATIONS,
    *stream.OPERATIONS,
    *evaluations.OPERATIONS,
    *play.OPERATIONS,
    *played.OPERATIONS,
    *runs.OPERATIONS,
    *sign_in.OPERATIONS,
    *prometheus.OPERATIONS,
    *reference.OPERATIONS,
)
"""All operations of the API."""


def create_app(source: Source, *, access: Access | None = None, watched: bool = False) -> Starlette:
    """Return an application that serves the page and the API of one run.

    Args:
        source: a ``Keisei``, a ``keisei.testing.FakeRun`` or a ``keisei.watch.run.WatchedRun``. The
            caller must open and close the run, because the application does neither.
        access: the token and the sessions, if several applications share them.
        watched: whether ``source`` only reads files. Then the application refuses all requests that
            would change something.
    """
    access = access or Access(source.settings.server, watched=watched)
    times: dict[tuple[str, str, str], Distribution] = {}
    app = Starlette(
        routes=to_routes(OPERATIONS),
        middleware=[
            Middleware(prometheus.RequestTimes, found=times),
            *security.middleware(source.settings.server, access),
            Middleware(WriteRate),
        ],
        exception_handlers={
            HTTPException: on_http_exception,
            ClientDisconnect: _on_client_gone,
            InboxFull: _on_inbox_full,
            NotRunning: _on_not_running,
            KeyReused: _on_key_reused,
            DatabaseError: _on_unreadable,
            RunError: _on_unreadable,
            Exception: _on_error,
        },
    )
    app.router.redirect_slashes = False
    # A Mount at "/" would also match API requests with a wrong method, which must get 405.
    app.router.default = Page()
    app.state.source = source
    app.state.access = access
    app.state.request_times = times
    app.state.operations = OPERATIONS
    app.state.threads = anyio.CapacityLimiter(THREADS)
    server = source.settings.server
    app.state.streams = stream.Streams(server.max_streams, server.max_streams_per_address)
    return app


class Page:
    """ASGI application of the page. At the first request, a thread looks for the page's files.

    The constructor must not read the disk, because ``create_app`` may be called on the event loop.
    """

    def __init__(self, index: str = "index.html") -> None:
        """``index``: file that is served at ``/``."""
        self._index = index
        self._files: Files | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        if self._files is None:
            self._files = await anyio.to_thread.run_sync(Files)
        if scope["type"] == "http" and path_in_app(scope) == "/":
            scope = {**scope, "path": f"{scope.get('root_path', '')}/{self._index}"}
        await self._files(scope, receive, send)


class Files(StaticFiles):
    """The page's files. The browser always asks whether its copy of a file is still valid."""

    def __init__(self) -> None:
        super().__init__(directory=page_directory(), html=True)
        mimetypes.init()  # reads files, so it must run here, in the thread

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return Starlette's response with ``Cache-Control: no-cache``."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response


async def _on_client_gone(request: Request, error: Exception) -> Response:
    """Answer a request whose client has disconnected. Nobody receives this answer."""
    return problem_response(
        408, "The client disconnected before the request was complete.", request.scope["path"]
    )


async def _on_inbox_full(request: Request, error: Exception) -> Response:
    return problem_response(503, str(error), request.scope["path"], headers={"Retry-After": "1"})


async def _on_not_running(request: Request, error: Exception) -> Response:
    return problem_response(409, str(error), request.scope["path"])


async def _on_key_reused(request: Request, error: Exception) -> Response:
    return problem_response(422, str(error), request.scope["path"])


async def _on_unreadable(request: Request, error: Exception) -> Response:
    access: Access = request.app.state.access
    detail = "A file of the run can't be read." if access.is_public else str(error)
    return problem_response(503, detail, request.scope["path"], headers={"Retry-After": "5"})


async def _on_error(request: Request, error: Exception) -> Response:
    """Answer 500 without details of the error; the server logs these details.

    Starlette's answer to an error does not pass through our middleware, so this function adds the
    security headers.
    """
    detail = "An error occurred in the server. The log of the server describes the error."
    return problem_response(500, detail, request.scope["path"], headers=security.HEADERS)
