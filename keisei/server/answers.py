"""Answers in JSON."""

import json
import math
from functools import partial
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
        return dumps(content, self._indent).encode() + b"\n"


def dumps(content: Any, indent: int | None = None) -> str:
    """JSON text; NaN and infinities as null."""
    dump = partial(json.dumps, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        return dump(content)
    except ValueError:
        return dump(_finite(content))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
