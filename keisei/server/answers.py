"""Answers in JSON."""

from typing import Any

from starlette.responses import Response

from keisei.events import dumps


class Json(Response):
    """JSON that a person can read too."""

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status: int = 200,
        headers: dict[str, str] | None = None,
        *,
        compact: bool = False,
    ) -> None:
        self._indent = None if compact else 2
        super().__init__(content, status, {"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """UTF-8 with a newline at the end."""
        return dumps(content, ensure_ascii=False, indent=self._indent).encode() + b"\n"
