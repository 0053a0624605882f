"""Answers in JSON, and the threads that make long ones."""

from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from keisei.events import dumps
from keisei.server.problems import to_bytes

THREADS = 4
"""Requests that read files at once; the others wait. The loop competes with each for Python's lock."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


async def in_thread(
    request: Request, function: Callable[[*Arguments], Result], *arguments: *Arguments
) -> Result:
    """Call what reads files or makes a long answer, beside the loop."""
    limiter = request.app.state.threads
    return await to_thread.run_sync(function, *arguments, limiter=limiter)


class Json(Response):
    """JSON that a person can read too. A long one is made in a thread, to keep the loop free."""

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
        """UTF-8 with a newline at the end."""
        text = _compact(content) if self._compact else dumps(content, ensure_ascii=False, indent=2)
        return to_bytes(text + "\n")


def _compact(content: Any) -> str:
    """Without spaces, and each list by itself: one long call of the encoder would stop the loop.

    The encoder without indent holds Python's lock to its end; the other one is ten times slower.
    """
    if isinstance(content, dict):
        entries = (f"{dumps(key)}:{_compact(value)}" for key, value in content.items())
        return "{" + ",".join(entries) + "}"
    return dumps(content, ensure_ascii=False, separators=(",", ":"))
