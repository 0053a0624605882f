"""Error answers: RFC 9457 documents of the type ``application/problem+json``."""

import http
import json
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keisei.hint import did_you_mean

MEDIA_TYPE = "application/problem+json"

MOST_ERRORS = 20
"""Maximum number of errors that an answer lists; a request's body can have thousands."""


class Problem(HTTPException):
    """An error answer. ``errors`` describes wrong fields of the request."""

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


def invalid(error: ValidationError, model: type[BaseModel]) -> Problem:
    """Return a Problem 422 for values that ``model`` refused.

    If an unknown name is similar to a known name, the Problem suggests the known name.
    """
    known = [field.alias or name for name, field in model.model_fields.items()]
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        {
            "field": ".".join(str(part) for part in fault["loc"]) or "body",
            "message": _unknown_field(str(fault["loc"][-1]), known)
            if fault["type"] == "extra_forbidden"
            else fault["msg"].removeprefix("Value error, "),
        }
        for fault in faults[:MOST_ERRORS]
    ]
    detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
    if more := len(faults) - len(errors):
        detail += f"; and {more} more"
    return Problem(422, detail, errors=errors)


def _unknown_field(name: str, known: list[str]) -> str:
    if not known:
        return "there is no such field: this request takes no fields"
    return "there is no such field" + did_you_mean(name, known)


def problem_response(
    status: int,
    detail: str,
    instance: str | None = None,
    errors: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a response with the problem document. ``instance`` is the path of the request."""
    title = http.HTTPStatus(status).phrase
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail or title,
    }
    if instance is not None:
        document["instance"] = instance
    if errors:
        document["errors"] = errors
    body = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    return Response(to_bytes(body), status, headers, MEDIA_TYPE)


def to_bytes(document: str) -> bytes:
    """Encode JSON as UTF-8. Lone surrogates, from paths that are not UTF-8, become escapes."""
    return document.encode("utf-8", "backslashreplace")


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Turn an HTTPException, such as a ``Problem`` or Starlette's 404, into a problem document."""
    error = cast("HTTPException", error)
    return problem_response(
        error.status_code,
        error.detail,
        request.scope["path"],  # `request.url` raises an error for some Host headers
        getattr(error, "errors", None),
        dict(error.headers or {}),
    )


class ProblemMiddleware:
    """Turn the plain-text error answers of other middleware into problem documents."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
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
    return start["status"] >= 400 and not kind.startswith((MEDIA_TYPE, "text/html"))
