"""Rules for every request: known Host names, signed-in clients, no writes from other sites."""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keisei.config import Server
from keisei.server.access import SESSION, Access, AccessGuard, path_in_app
from keisei.server.hosts import allowed_hosts, cors_origins
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


def middleware(settings: Server, access: Access) -> list[Middleware]:
    """Return the middleware for every request, outermost first."""
    origins = cors_origins(settings)
    return [
        Middleware(SecurityHeaders),
        Middleware(ProblemMiddleware),
        Middleware(
            TrustedHostMiddleware, allowed_hosts=allowed_hosts(settings), www_redirect=False
        ),
        *([_cors(origins)] if origins else []),
        # Without a token nobody can prove that a write comes from the user.
        Middleware(WriteGuard, origins=origins if settings.token_file else ()),
        Middleware(AccessGuard, access=access),
        *([Middleware(ReadOnly, refusal=access.refusal)] if access.refusal else []),
        Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY),
    ]


def _cors(origins: list[str]) -> Middleware:
    """Let pages of ``origins`` read the answers to requests without cookies."""
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=["Authorization", "Idempotency-Key", "Last-Event-ID"],
        expose_headers=["Link", "Location", "Retry-After"],
    )


class SecurityHeaders:
    """Add ``HEADERS`` to every answer, except headers that the answer already has."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, add)


class WriteGuard:
    """Refuse unsafe methods from other sites (403) and bodies that are not JSON (415).

    The header ``Sec-Fetch-Site`` says where a request comes from; older browsers send ``Origin``. A
    request with neither header does not come from a browser, so the request is allowed. These rules
    are from Go 1.25's ``CrossOriginProtection``. In addition, a page of one of the ``origins`` may
    write if its request has a bearer token, which ``AccessGuard`` then checks.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self.app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            if refusal := self._cross_site(headers) or _not_json(headers):
                status, detail = refusal
                await problem_response(status, detail, scope["path"])(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _cross_site(self, headers: Headers) -> tuple[int, str] | None:
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if origin in self._origins and headers.get("authorization", "").lower()[:7] == "bearer ":
            return None
        if origin == "null":
            ours = False
        elif site is not None:
            ours = site in {"same-origin", "none"}
        elif origin is not None:
            ours = origin.partition("://")[2] == headers.get("host")
        else:
            ours = True
        return None if ours else (403, "Requests from other web sites cannot change anything here.")


class ReadOnly:
    """Refuse unsafe methods (403), except for signing in and out."""

    def __init__(self, app: ASGIApp, refusal: str) -> None:
        """``refusal``: detail of the answer 403."""
        self.app = app
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        unsafe = scope["type"] == "http" and scope["method"] not in SAFE_METHODS
        if unsafe and path_in_app(scope) != SESSION:
            await problem_response(403, self._refusal, scope["path"])(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _not_json(headers: Headers) -> tuple[int, str] | None:
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not has_body or kind == "application/json":
        return None
    return 415, f"The Content-Type must be application/json, not {kind or 'missing'}."
