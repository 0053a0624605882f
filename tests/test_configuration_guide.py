"""The guide lists every setting with its default."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from keisei.config import Settings

GUIDE = Path(__file__).parents[1] / "docs/guide/configuration.md"
ROW = re.compile(
    r"^\| `(?P<key>[a-z_.]+)` \| `(?P<default>[^|]*)` \| (?P<meaning>\S.*) \|$", re.MULTILINE
)


def defaults(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their defaults, as JSON and TOML have them."""
    plain = settings.model_dump(mode="json")
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from defaults(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", plain[name]


DEFAULTS = dict(defaults(Settings()))
ROWS = [match.groups() for match in ROW.finditer(GUIDE.read_text("utf-8"))]


def test_every_setting_has_one_row_and_no_other_has() -> None:
    assert sorted(key for key, _, _ in ROWS) == sorted(DEFAULTS)


@pytest.mark.parametrize("key", DEFAULTS)
def test_the_default_is_the_one_told(key: str) -> None:
    (told,) = (default for name, default, _ in ROWS if name == key)
    value = tomllib.loads(f"it = {told}")["it"]
    assert (value, type(value) is bool) == (DEFAULTS[key], type(DEFAULTS[key]) is bool)
