"""Access rules: loopback addresses only, known Host names only, no writes from other sites."""

import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keisei.config import Server
from keisei.server.problems import ProblemMiddleware, problem_response

MAX_BODY = 64 * 1024
"""Maximum size of a request's body, in bytes."""

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
    """``server.host`` is reachable from other machines, or ``allowed_hosts`` allows all names."""


def check_host(settings: Server) -> None:
    """Raise HostRefusedError if other machines could reach the server, which has no password."""
    allowed_hosts(settings)
    if settings.host != "localhost" and _loopback(settings.host) is None:
        raise HostRefusedError(
            f"server.host: must be a loopback address such as 127.0.0.1 (got {settings.host!r}); "
            "from another machine use a tunnel: ssh -L 8700:localhost:8700 HOST"
        )


def allowed_hosts(settings: Server) -> list[str]:
    """Return the accepted Host names: those in the settings, and the server's own address.

    Raises HostRefusedError for ``*``, which would allow DNS rebinding: any web site could reach the
    service through one of its host names that resolves to this machine.
    """
    if "*" in settings.allowed_hosts:
        raise HostRefusedError(
            "server.allowed_hosts: '*' would let any web site reach the service; "
            "list the host names, such as localhost or *.example.org"
        )
    own = _loopback(settings.host)
    return [*settings.allowed_hosts, *([own] if own else [])]


def _loopback(host: str) -> str | None:
    """Return a loopback address in the form of the Host header; None for any other host."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    if not address.is_loopback:
        return None
    return f"[{address}]" if address.version == 6 else str(address)


def middleware(settings: Server) -> list[Middleware]:
    """Return the middleware for every request, outermost first."""
    return [
        Middleware(SecurityHeaders),
        Middleware(ProblemMiddleware),
        Middleware(
            TrustedHostMiddleware, allowed_hosts=allowed_hosts(settings), www_redirect=False
        ),
        Middleware(WriteGuard),
        Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY),
    ]


class SecurityHeaders:
    """Add ``HEADERS`` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, add)


class WriteGuard:
    """Refuse unsafe methods from other sites (403) and bodies that are not JSON (415).

    A browser says where a request comes from in ``Sec-Fetch-Site``; older browsers use ``Origin``.
    A request with neither header does not come from a browser, so the request is allowed. This is
    the algorithm of Go 1.25's ``CrossOriginProtection``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
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
    return None if ours else (403, "Requests from other web sites cannot change anything here.")


def _not_json(headers: Headers) -> tuple[int, str] | None:
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not has_body or kind == "application/json":
        return None
    return 415, f"The Content-Type must be application/json, not {kind or 'missing'}."
