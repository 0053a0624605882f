"""Answers in JSON."""

from typing import Any

from starlette.responses import Response

from keisei.events import dumps
from keisei.server.problems import to_bytes


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
