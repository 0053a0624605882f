"""Limits of ``keisei serve``: the size of a request's head, and of each piece of its answer."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keisei.server.access import HEALTH, READY
from keisei.server.problems import problem_response
from keisei.server.security import HEADERS

MAX_URL = 8 * 1024
"""Maximum size of a request's path and query, in bytes."""

MAX_HEADERS = 16 * 1024
"""Maximum size of all headers of a request, in bytes."""

PIECE = 64 * 1024
"""Maximum size of one piece of an answer, in bytes. Each piece is written separately."""


class HeadSize:
    """Refuse a request if its URL (414) or its headers (431) are too long."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_URL:
            await _refuse(*url_too_long(), scope, receive, send)
        elif sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEADERS:
            await _refuse(*headers_too_long(), scope, receive, send)
        else:
            await self.app(scope, receive, send)


def url_too_long() -> tuple[int, str]:
    """Return the status and the detail of the answer to a request whose URL is too long."""
    return 414, f"The path and the query together may have at most {MAX_URL} bytes."


def headers_too_long() -> tuple[int, str]:
    """Return the status and the detail of the answer to a request whose headers are too long."""
    return 431, f"All headers together may have at most {MAX_HEADERS} bytes."


class Pieces:
    """Split an answer into pieces, because uvicorn waits for a slow client only between pieces.

    Otherwise the server would not notice that a client has stopped reading.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""

        async def split(message: Message) -> None:
            body = message.get("body", b"")
            for start in range(0, len(body) - PIECE, PIECE):
                piece = body[start : start + PIECE]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if len(body) > PIECE:
                message = {**message, "body": body[(len(body) - 1) // PIECE * PIECE :]}
            await send(message)

        await self.app(scope, receive, split)


class OnlyHealth:
    """Answer health checks, refuse other requests (503), and close the connection afterwards."""

    def __init__(self, app: ASGIApp, detail: str) -> None:
        """``detail``: the reason for the refusal."""
        self.app = app
        self._detail = detail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""

        async def last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        if scope["path"] in {HEALTH, READY}:
            await self.app(scope, receive, last)
        else:
            await _refuse(503, self._detail, scope, receive, send)


async def _refuse(status: int, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a problem document, then close the connection."""
    headers = {**HEADERS, "Connection": "close"}
    if status == 503:
        headers["Retry-After"] = "5"
    await problem_response(status, detail, scope["path"], headers=headers)(scope, receive, send)
