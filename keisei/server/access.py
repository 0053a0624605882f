"""Who may read and write: clients with the token, and browsers that signed in with it."""

import hashlib
import hmac
from typing import NamedTuple

import anyio
from anyio import to_thread
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keisei.config import Server
from keisei.server.hosts import is_public
from keisei.server.problems import problem_response
from keisei.server.sessions import Failures, Session, Sessions
from keisei.server.sign_in_page import sign_in_page
from keisei.server.token import open_token

HEALTH, READY = "/healthz", "/readyz"
"""Paths of the health checks. They need no token, and some connections are reserved for them."""
SESSION = "/api/session"
READ_ONLY = "This server is read-only (server.read_only): requests cannot change anything."
WATCHED = (
    "This server only reads the run's files: it cannot control the run, start evaluations or play. "
    "The server of keisei serve can."
)
CHALLENGE = {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}


class Client(NamedTuple):
    """The client that sent a request."""

    allowed: bool
    """Whether the client may use the server."""
    session: Session | None = None
    """Session that the client's cookie names; None if no valid cookie was used."""


class Access:
    """The token, the sessions, and the failed sign-ins of one application."""

    def __init__(self, settings: Server, *, watched: bool = False) -> None:
        """Read nothing yet, because ``create_app`` may be called on the event loop.

        ``watched``: whether the server only reads files of runs that other processes write.
        """
        self.refusal = WATCHED if watched else READ_ONLY if settings.read_only else ""
        """Why requests cannot change anything; empty if they can."""
        self.needs_token = bool(settings.token_file)
        self.is_public = is_public(settings)
        self.sessions = Sessions()
        self.failures = Failures()
        self._file = settings.token_file
        self._digest: bytes | None = None
        """Digest of the token. The token itself is not kept."""

    async def is_token(self, text: str) -> bool:
        """Return whether ``text`` is the token. The time of the call does not reveal the token."""
        if self._digest is None:
            found = await to_thread.run_sync(open_token, self._file)
            self._digest = _digest(found.token.get_secret_value())
        return hmac.compare_digest(self._digest, _digest(text))

    async def identify(self, scope: Scope) -> Client:
        """Return the client of a request. With a bearer token, the cookie is ignored."""
        scheme, _, text = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return Client(not self.needs_token or await self.is_token(text.strip()))
        session = self.sessions.find(session_id(scope))
        return Client(not self.needs_token or session is not None, session)


class AccessGuard:
    """Refuse clients that may not use the server (401), except for health checks and sign-ins."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client, path = await self._access.identify(scope), path_in_app(scope)
        if path == READY and (self._access.is_public or not client.allowed):
            await self.app(scope, receive, _without_reason(scope, receive, send))
        elif client.session:
            await _answer_until_sign_out(self.app, client.session, scope, receive, send)
        elif client.allowed or path == HEALTH or (path, scope["method"]) == (SESSION, "POST"):
            await self.app(scope, receive, send)
        else:
            await (await _refusal(scope))(scope, receive, send)


def path_in_app(scope: Scope) -> str:
    """Return the request's path below the path at which the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def cookie_name(scope: Scope) -> str:
    """Return the cookie's name, which contains the port: all ports of a host share their cookies.

    Without the port, signing in to one Keisei would sign the user out of another on the same host.
    """
    server = scope.get("server")
    return f"keisei_session_{server[1] if server else 0}"


def session_id(scope: Scope) -> str:
    """Return the session id that the request's cookie contains; "" if there is no cookie."""
    return HTTPConnection(scope).cookies.get(cookie_name(scope), "")


async def _refusal(scope: Scope) -> Response:
    """Return the answer 401: a sign-in page for browsers, a problem document for programs."""
    if "text/html" in Headers(scope=scope).get("accept", ""):
        return await sign_in_page(scope.get("root_path", ""), CHALLENGE)
    detail = "The server needs its access token, in the header 'Authorization: Bearer TOKEN'."
    return problem_response(401, detail, scope["path"], headers=CHALLENGE)


def _without_reason(scope: Scope, receive: Receive, send: Send) -> Send:
    """Return a ``send`` that hides the reason why the run is not ready."""
    replaced = False

    async def send_brief(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start" and message["status"] == 503:
            replaced = True
            detail = "The run is not ready. Clients without the token do not see the reason."
            await problem_response(503, detail, scope["path"])(scope, receive, send)
        elif not replaced:
            await send(message)

    return send_brief


async def _answer_until_sign_out(
    app: ASGIApp, session: Session, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request. If the user signs out before the answer is complete, end the answer."""
    open_answer = False

    async def receive_until_sign_out() -> Message:
        message: Message = {"type": "http.disconnect"}
        async with anyio.create_task_group() as tasks:

            async def wait_for_end() -> None:
                await session.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait_for_end)
            message = await receive()
            tasks.cancel_scope.cancel()
        return message

    async def watch(message: Message) -> None:
        nonlocal open_answer
        open_answer = message.get("more_body", message["type"] == "http.response.start")
        await send(message)

    await app(scope, receive_until_sign_out, watch)
    if open_answer:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
