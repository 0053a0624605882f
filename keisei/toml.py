"""Write settings as TOML 1.0, because the standard library can only read TOML."""

import json
from collections.abc import Mapping
from typing import Any


def to_toml(tree: Mapping[str, Any], notes: Mapping[str, Any] | None = None) -> str:
    """Return TOML text that ``tomllib.loads`` reads back as ``tree``.

    A table at the top level of ``tree`` becomes a section. A table in a section becomes an inline
    table, whose keys may be any strings. All other keys must consist of letters, digits, ``_`` and
    ``-``. Values can also be strings, booleans, numbers and lists. A value of any other type raises
    TypeError. ``notes`` is nested like ``tree`` and contains one-line comments. Each comment is
    written after its value, on the same line.
    """
    notes = notes or {}
    lines = [_line(key, v, notes.get(key)) for key, v in tree.items() if not isinstance(v, Mapping)]
    for section, keys in tree.items():
        if isinstance(keys, Mapping):
            section_notes = notes.get(section, {})
            lines += [
                "",
                f"[{section}]",
                *(_line(key, v, section_notes.get(key)) for key, v in keys.items()),
            ]
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any, note: str | None) -> str:
    text = f"{key} = {_value(value)}"
    return f"{text:<31} # {note}" if note else text


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # TOML has the same escapes as JSON, with two exceptions. TOML forbids an unescaped DEL,
            # which JSON allows. TOML also forbids escaped surrogates, so `ensure_ascii` is off.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(_value(item) for item in value)}]"
        case Mapping():
            items = (f"{_value(key)} = {_value(item)}" for key, item in value.items())
            return f"{{ {', '.join(items)} }}" if value else "{}"
    raise TypeError(f"no TOML for {value!r}")
