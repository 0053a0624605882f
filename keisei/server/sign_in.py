"""The route ``/api/session``: sign in, sign out, and what this client may do."""

import math

import structlog
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keisei.server.access import CHALLENGE, SESSION, Access, cookie_name, session_id
from keisei.server.answers import Json
from keisei.server.models import NoQuery, Request_, parse_body, parse_query
from keisei.server.problems import Problem
from keisei.server.sessions import SECONDS

_log = structlog.get_logger("keisei.server")


class SignIn(Request_):
    """Body of ``POST /api/session``."""

    token: str = ""


class SessionEndpoint(HTTPEndpoint):
    """``/api/session``: the session of this browser."""

    async def get(self, request: Request) -> Response:
        """Return whether the client has a session, and whether the server is read-only."""
        parse_query(NoQuery, request)
        access = _access(request)
        signed_in = access.sessions.find(session_id(request.scope)) is not None
        return Json({"signed_in": signed_in, "read_only": access.read_only})

    async def post(self, request: Request) -> Response:
        """Exchange the token for a session's cookie, which JavaScript cannot read."""
        parse_query(NoQuery, request)
        wanted = await parse_body(SignIn, request)
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
        answer = Response(status_code=204, headers={"Cache-Control": "no-store"})
        _set_cookie(answer, request, access.sessions.begin(), int(SECONDS))
        return answer

    async def delete(self, request: Request) -> Response:
        """End the session of this browser, with all its streams."""
        parse_query(NoQuery, request)
        _access(request).sessions.end(session_id(request.scope))
        answer = Response(status_code=204, headers={"Cache-Control": "no-store"})
        _set_cookie(answer, request, "", 0)
        return answer


def _set_cookie(answer: Response, request: Request, value: str, seconds: int) -> None:
    answer.set_cookie(
        cookie_name(request.scope),
        value,
        max_age=seconds,
        path=request.scope.get("root_path") or "/",
        secure=request.scope["scheme"] == "https",
        httponly=True,
        samesite="strict",
    )


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


ROUTES = [Route(SESSION, SessionEndpoint)]
