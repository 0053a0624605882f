"""JSON answers, pages of lists, and the worker threads that read files and encode answers."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, TypeVarTuple
from urllib.parse import quote, urlencode

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from keisei.events import dumps
from keisei.server.models import EvaluationsQuery, PageQuery, RunsQuery
from keisei.server.problems import to_bytes

THREADS = 4
"""Maximum number of worker threads.

More threads would take the GIL from the event loop too often.
"""

LINK = {"Link": 'Address of the next page, as `<ADDRESS>; rel="next"`; missing on the last page.'}
"""OpenAPI declaration of the header that ``read_page`` sends."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


async def in_thread(
    request: Request, function: Callable[[*Arguments], Result], *arguments: *Arguments
) -> Result:
    """Call ``function``, which reads files or encodes a long answer, in a worker thread."""
    limiter = request.app.state.threads
    return await to_thread.run_sync(function, *arguments, limiter=limiter)


class Json(Response):
    """A JSON answer, indented unless ``compact``. Create a long answer with ``in_thread``."""

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status: int = 200,
        headers: dict[str, str] | None = None,
        *,
        compact: bool = False,
    ) -> None:
        self._compact = compact
        super().__init__(content, status, {"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """Encode ``content`` as UTF-8 with a newline at the end."""
        text = _compact(content) if self._compact else dumps(content, ensure_ascii=False, indent=2)
        return to_bytes(text + "\n")


def address(request: Request, path: str) -> str:
    """Return ``path`` below the path at which the application is mounted."""
    return f"{request.scope.get('root_path', '')}{path}"


async def read_page(
    request: Request,
    query: PageQuery | EvaluationsQuery | RunsQuery,
    name: str,
    read: Callable[..., list[dict[str, Any]]],
) -> Response:
    """Return a page of a list that ``read(limit, after)`` reads from files.

    The answer has the key ``next`` and a Link header with the address of the next page.
    """
    found = await in_thread(request, partial(read, **query.model_dump()))
    return await in_thread(request, partial(make_page, request, query, name, found))


def make_page(
    request: Request,
    query: PageQuery | EvaluationsQuery | RunsQuery,
    name: str,
    found: list[dict[str, Any]],
) -> Response:
    """Return a page that contains the list ``found``. A page that is not full is the last page."""
    after = found[-1].get("id") if len(found) >= query.limit else None
    headers = {}
    if after is not None:
        here = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        more = urlencode({"limit": query.limit, "after": after})
        headers["Link"] = f'<{address(request, quote(here))}?{more}>; rel="next"'
    return Json({name: found, "next": after}, headers=headers)


def _compact(content: Any) -> str:
    """Encode ``content`` without spaces, with a separate call of the JSON encoder for each list.

    The JSON encoder without indent is written in C and keeps the GIL until it returns. A single
    call for a long document would block the event loop. The encoder with indent is ten times slower
    than the encoder without indent.
    """
    if isinstance(content, dict):
        entries = (f"{dumps(key)}:{_compact(value)}" for key, value in content.items())
        return "{" + ",".join(entries) + "}"
    return dumps(content, ensure_ascii=False, separators=(",", ":"))
