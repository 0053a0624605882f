"""Answers in JSON."""

import json
import math
from typing import Any

from starlette.responses import Response


class Json(Response):
    """JSON that a person can read too; NaN and infinities, which JSON lacks, as null."""

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
        try:
            text = self._dump(content)
        except ValueError:
            text = self._dump(_finite(content))
        return text.encode() + b"\n"

    def _dump(self, content: Any) -> str:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=self._indent)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
