"""The operations of ``/api/session``: sign in, sign out, and read the state of the session."""

import math

import structlog
from starlette.requests import Request
from starlette.responses import Response

from keisei.server.access import CHALLENGE, SESSION, Access, cookie_name, session_id
from keisei.server.answers import Json
from keisei.server.documents import SessionState
from keisei.server.models import SignIn
from keisei.server.operations import operation
from keisei.server.problems import Problem
from keisei.server.sessions import SECONDS

_log = structlog.get_logger("keisei.server")


@operation("GET", SESSION, answer=SessionState)
async def session(request: Request) -> Response:
    """Return whether this browser has a session, and whether the server is read-only."""
    access = _access(request)
    signed_in = access.sessions.find(session_id(request.scope)) is not None
    return Json({"signed_in": signed_in, "read_only": bool(access.refusal)})


@operation(
    "POST",
    SESSION,
    body=SignIn,
    status=204,
    sends={"Set-Cookie": "Cookie of the session. JavaScript cannot read it."},
    problems={
        401: "The token is wrong.",
        409: "The server needs no token.",
        429: "Too many sign-ins from the client's address failed.",
    },
)
async def sign_in(request: Request, wanted: SignIn) -> Response:
    """Begin a session of this browser. The session ends after at most seven days."""
    access = _access(request)
    if not access.needs_token:
        raise Problem(409, "This server needs no token: server.token_file is not set.")
    address = request.client.host if request.client else ""
    if wait := math.ceil(access.failures.wait(address)):
        detail = f"Too many failed sign-ins from your address. Try again in {wait} s."
        raise Problem(429, detail, headers={"Retry-After": str(wait)})
    if not await access.is_token(wanted.token):
        access.failures.add(address)
        _log.warning("sign_in_failed", client=address)
        raise Problem(401, "This is not the server's access token.", headers=CHALLENGE)
    return _answer(request, access.sessions.begin(), int(SECONDS))


@operation("DELETE", SESSION, status=204, sends={"Set-Cookie": "Removes the session's cookie."})
async def sign_out(request: Request) -> Response:
    """End the session of this browser, and all event streams of the session."""
    _access(request).sessions.end(session_id(request.scope))
    return _answer(request, "", 0)


def _answer(request: Request, id: str, seconds: int) -> Response:
    """Return an answer with a cookie that contains ``id`` and expires after ``seconds``."""
    answer = Response(status_code=204, headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        cookie_name(request.scope),
        id,
        max_age=seconds,
        path=request.scope.get("root_path") or "/",
        secure=request.scope["scheme"] == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


OPERATIONS = [session, sign_in, sign_out]
