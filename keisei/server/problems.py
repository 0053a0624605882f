"""Errors on the wire: RFC 9457 ``application/problem+json``, all of them."""

import http
import json
from typing import Any, cast

from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"


class Problem(HTTPException):
    """An error answer. ``errors`` lists what is wrong with the request, one entry a field."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.errors = errors


def invalid(error: ValidationError) -> Problem:
    """422 for values that a pydantic model refused."""
    errors = [
        {
            "field": ".".join(str(part) for part in problem["loc"]) or "body",
            "message": problem["msg"].removeprefix("Value error, "),
        }
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
    return Problem(422, detail, errors=errors)


def problem_response(
    status: int,
    detail: str,
    instance: str,
    errors: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """The document itself."""
    title = http.HTTPStatus(status).phrase
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail or title,
        "instance": instance,
    }
    if errors:
        document["errors"] = errors
    body = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    # A path may hold lone surrogates; they have no UTF-8 form.
    return Response(body.encode("utf-8", "replace"), status, headers, MEDIA_TYPE)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Handler of Starlette's own errors (404, 405 ...) and of ours."""
    error = cast("HTTPException", error)
    return problem_response(
        error.status_code,
        error.detail,
        request.url.path,
        getattr(error, "errors", None),
        dict(error.headers or {}),
    )


class ProblemMiddleware:
    """Turns plain error answers (of middleware that knows no problem+json) into problems."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held: Message | None = None
        text = b""

        async def rewrite(message: Message) -> None:
            nonlocal held, text
            if message["type"] == "http.response.start" and _is_plain_error(message):
                held = message
                return
            if held is None:
                await send(message)
                return
            text += message.get("body", b"")
            if not message.get("more_body", False):
                detail = text.decode("utf-8", "replace")
                response = problem_response(held["status"], detail, scope["path"])
                await response(scope, receive, send)

        await self.app(scope, receive, rewrite)


def _is_plain_error(start: Message) -> bool:
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return start["status"] >= 400 and not kind.startswith(MEDIA_TYPE)
