"""The web service as a value: ``create_app(source)``."""

import mimetypes
import os
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from keisei.errors import InboxFull, KeyReused, NotRunning
from keisei.resources import page_directory
from keisei.server import evaluations, routes, security, stream
from keisei.server.answers import THREADS
from keisei.server.problems import on_http_exception, problem_response
from keisei.server.source import Source

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(source: Source) -> Starlette:
    """The page and the API of one run, to serve by itself or to mount in another application.

    ``source`` is a ``Keisei`` or a ``keisei.testing.FakeRun``. The application starts nothing and
    stops nothing: open and close the run around it.
    """
    app = Starlette(
        routes=_routes(),
        middleware=security.middleware(source.settings.server),
        exception_handlers={
            HTTPException: on_http_exception,
            ClientDisconnect: _on_client_gone,
            InboxFull: _on_inbox_full,
            NotRunning: _on_not_running,
            KeyReused: _on_key_reused,
            Exception: _on_error,
        },
    )
    app.router.redirect_slashes = False
    # Not a Mount at "/": it would swallow what a route above answers with 405.
    app.router.default = Page()
    app.state.source = source
    app.state.threads = anyio.CapacityLimiter(THREADS)
    app.state.streams = stream.Streams(source.settings.server.max_streams)
    return app


def _routes() -> list[BaseRoute]:
    return [
        _get("/api/status", routes.status),
        _get("/api/version", routes.versions),
        _get("/api/config", routes.config),
        _get("/api/metrics", routes.metrics),
        _get("/api/events", stream.events),
        _get("/api/log", routes.log),
        _get("/api/games", routes.games),
        _get("/api/games/{id}", routes.game),
        _get("/api/checkpoints", routes.checkpoints),
        _post("/api/control/pause", routes.pause),
        _post("/api/control/resume", routes.resume),
        _post("/api/control/checkpoint", routes.checkpoint),
        _post("/api/control/stop", routes.stop),
        Route("/api/eval", evaluations.Evaluations),
        Route("/api/eval/{id}", evaluations.Evaluation),
        _get("/api/eval/{id}/events", evaluations.events),
        _get("/api/eval/{id}/games", evaluations.games),
        _get("/api/ratings", routes.ratings),
        _get("/healthz", routes.healthz),
        _get("/readyz", routes.readyz),
    ]


def _get(path: str, endpoint: Endpoint) -> Route:
    return Route(path, endpoint, methods=["GET"])


def _post(path: str, endpoint: Endpoint) -> Route:
    return Route(path, endpoint, methods=["POST"])


class Page:
    """The page. Its files are looked for at the first request, in a thread: an application may be
    made on the loop.
    """

    def __init__(self) -> None:
        self._files: Files | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._files is None:
            self._files = await anyio.to_thread.run_sync(Files)
        await self._files(scope, receive, send)


class Files(StaticFiles):
    """The page's files. A browser asks each time whether they changed (304 if not)."""

    def __init__(self) -> None:
        super().__init__(directory=page_directory(), html=True)
        mimetypes.init()  # reads files too

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """As Starlette's, never from a cache unasked."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response


async def _on_client_gone(request: Request, error: Exception) -> Response:
    """The client left, or was cut off, before the end of its request. Nobody gets this answer."""
    return problem_response(408, "The request did not come to its end.", request.scope["path"])


async def _on_inbox_full(request: Request, error: Exception) -> Response:
    return problem_response(503, str(error), request.scope["path"], headers={"Retry-After": "1"})


async def _on_not_running(request: Request, error: Exception) -> Response:
    return problem_response(409, str(error), request.scope["path"])


async def _on_key_reused(request: Request, error: Exception) -> Response:
    return problem_response(422, str(error), request.scope["path"])


async def _on_error(request: Request, error: Exception) -> Response:
    """Says nothing of the error, which the server logs. Sent from outside our middleware."""
    detail = "The server failed to answer. Its log says why."
    return problem_response(500, detail, request.scope["path"], headers=security.HEADERS)
