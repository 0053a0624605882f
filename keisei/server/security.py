"""Who may ask for what: loopback only, known Host names only, no writes from other sites."""

import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keisei.config import Server
from keisei.server.problems import ProblemMiddleware, problem_response

MAX_BODY = 64 * 1024
"""Bytes of a request's body."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class HostRefusedError(ValueError):
    """``server.host`` is an address that other machines can reach."""


def check_host(settings: Server) -> None:
    """Refuse to listen beyond this machine: there is no password yet. Raises HostRefusedError."""
    if settings.host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(settings.host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise HostRefusedError(
            f"server.host: must be a loopback address such as 127.0.0.1 (got {settings.host!r}); "
            "for another machine use a tunnel, as ssh -L 8700:localhost:8700"
        )


def middleware(settings: Server) -> list[Middleware]:
    """What every request passes, outermost first."""
    return [
        Middleware(SecurityHeaders),
        Middleware(ProblemMiddleware),
        Middleware(
            TrustedHostMiddleware, allowed_hosts=list(settings.allowed_hosts), www_redirect=False
        ),
        Middleware(WriteGuard),
        Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY),
    ]


class SecurityHeaders:
    """Adds the headers above to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, add)


class WriteGuard:
    """Refuses unsafe methods from other sites (403) and bodies that aren't JSON (415).

    A browser tells where a request comes from by ``Sec-Fetch-Site``, an older one by ``Origin``.
    With neither it is no browser, and on loopback that may write. (The algorithm of Go 1.25's
    ``CrossOriginProtection``.)
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            if refusal := _cross_site(headers) or _not_json(headers):
                status, detail = refusal
                await problem_response(status, detail, scope["path"])(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _cross_site(headers: Headers) -> tuple[int, str] | None:
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    if site is not None:
        ours = site in {"same-origin", "none"}
    elif origin is not None:
        ours = origin.partition("://")[2] == headers.get("host")
    else:
        ours = True
    return None if ours else (403, "Requests from other sites may not change anything here.")


def _not_json(headers: Headers) -> tuple[int, str] | None:
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not has_body or kind == "application/json":
        return None
    return 415, f"The body must be application/json, not {kind or 'untyped'}."
