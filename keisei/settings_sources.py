"""Read settings from their sources: TOML files, the environment and the command line."""

import json
import logging
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from itertools import islice
from operator import getitem
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource

from keisei.hint import did_you_mean

ENV_PREFIX = "KEISEI_"
RENAMED = {"ppo.declaration": "ppo.declaration_reward"}
"""Maps old names of settings to new names. Both names of a setting are in the same section."""

_OLDER_SYSTEM = {"training", "model"}
"""Sections in each TOML file of the older system named Keisei."""
_MESSAGES = {
    "model_type": "is a section: set one of its keys",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
}
"""Messages for those types of pydantic's errors whose own message is too long or unclear."""

_log = logging.getLogger(__name__)

Tree = dict[str, Any]
"""Settings by key. The value of a section is another tree."""


class SettingsError(ValueError):
    """The settings cannot be used. The message names the source and the problem."""


class Layer(NamedTuple):
    """The settings from one source."""

    source: str
    """Name of the source in messages: a file's path, ``environment`` or ``command line``."""
    tree: Tree

    def origin(self, path: Sequence[str]) -> str:
        """Return the source of a setting; for the environment, add the variable's name."""
        if self.source != "environment":
            return self.source
        words = [ENV_PREFIX + "__".join(path), f"{ENV_PREFIX}{path[0]}"]
        names = (name for word in words for name in os.environ if name.upper() == word.upper())
        return " ".join(["environment", *islice(names, 1)])


def read_layers(
    settings: type[BaseSettings], paths: Sequence[str | Path], overrides: Mapping[str, Any]
) -> list[Layer]:
    """Read all sources of ``settings``. Return one layer for each source. Raises SettingsError.

    The values of a later layer override the values of an earlier layer.
    ``overrides`` maps dotted keys (``"ppo.gamma"``) to values, or to texts that are parsed later.
    If a source contains only the old name of a setting, a warning is logged.
    """
    layers = [
        *(Layer(str(path), read_toml(Path(path))) for path in paths),
        Layer("environment", _read_environment(settings)),
        Layer("command line", _nest(overrides)),
    ]
    for source, tree in layers:
        warn_of_old_names(source, tree)
    return [Layer(source, with_new_names(tree)) for source, tree in layers]


def with_new_names(tree: Tree) -> Tree:
    """Return a copy of ``tree`` in which renamed settings have their new names.

    If ``tree`` contains both names of a setting, the old name stays. Validation then reports the
    old name as an unknown setting.
    """
    renamed = dict(tree)
    for section, old, new in old_names(tree):
        renamed[section] = {new if k == old else k: v for k, v in renamed[section].items()}
    return renamed


def warn_of_old_names(source: str, tree: Tree) -> None:
    """Log a warning for each setting that ``tree`` contains only under the old name."""
    for section, old, new in old_names(tree):
        text = "%s: %s.%s is an old name; the new name is %s.%s"
        _log.warning(text, source, section, old, section, new)


def old_names(tree: Tree) -> list[tuple[str, str, str]]:
    """Return (section, old key, new key) for settings that ``tree`` has only under the old name."""
    names = ((*old.split("."), new.split(".")[1]) for old, new in RENAMED.items())
    return [
        (section, old, new)
        for section, old, new in names
        if isinstance(keys := tree.get(section), dict) and old in keys and new not in keys
    ]


def merge(layers: Sequence[Layer]) -> Tree:
    """Merge all layers into one tree.

    If several layers contain a key, the value in the last of these layers is used. If the values
    are tables, they are merged too.
    """
    merged: Tree = {}
    for layer in layers:
        merged = _merge_trees(merged, layer.tree)
    return merged


def origin(layers: Sequence[Layer], path: Sequence[str]) -> str:
    """Return where a setting's value comes from, for example ``environment KEISEI_PPO__GAMMA``.

    ``path`` has the setting's section and key. Only a table can come from several sources, because
    a later layer adds keys to the table of an earlier layer.
    """
    found: list[str] = []
    value: Any = None
    for layer in layers:
        if _has(layer.tree, path):
            given = reduce(getitem, path, layer.tree)
            adds = isinstance(given, dict) and isinstance(value, dict)
            found, value = [*found, layer.origin(path)] if adds else [layer.origin(path)], given
    return ", ".join(found) or "default"


def explain(
    error: ValidationError, layers: Sequence[Layer], settings: type[BaseModel]
) -> SettingsError:
    """Return pydantic's error as a SettingsError that names the source of each wrong value."""
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        holders = (layer.origin(path) for layer in reversed(layers) if _has(layer.tree, path))
        message = problem["msg"].replace("Input should be", "must be", 1)
        message = message.removeprefix("Value error, ")
        message = _MESSAGES.get(problem["type"], message)
        if problem["type"] == "extra_forbidden":
            message = "no such setting" + _near_setting(path, settings)
        source = next(holders, "settings")
        lines.append(f"{source}: {'.'.join(path)}: {message} (got {problem['input']!r})")
    return SettingsError("\n".join(lines))


def _near_setting(path: list[str], settings: type[BaseModel]) -> str:
    """Return a hint at a similar setting, or at a setting with this key in another section."""
    keys_of = {
        name: getattr(field.annotation, "model_fields", {})
        for name, field in settings.model_fields.items()
    }
    elsewhere = [f"{section}.{path[-1]}" for section, keys in keys_of.items() if path[-1] in keys]
    similar = did_you_mean(path[-1], keys_of.get(path[0]) or keys_of)
    if elsewhere and (len(path) == 1 or not similar):
        return f", did you mean {' or '.join(elsewhere)}?"
    return similar


def parse_whole_number(text: str) -> int:
    """Read ``1000000``, ``1_000_000`` or ``1e6`` as a whole number. Raises ValueError."""
    with suppress(ValueError):
        return int(text)  # `float` would round a long number
    with suppress(ValueError):
        number = float(text)
        if number.is_integer():
            return int(number)
    raise ValueError("must be a whole number")


def parse_list(value: Any) -> Any:
    """Read a list from a text (``a,b`` or JSON). Return any other value unchanged."""
    if not isinstance(value, str):
        return value
    address = re.match(r"\[[\da-fA-F]*:", value)  # "[::1]" is an address, not JSON
    if value.startswith("[") and not address:
        return _parse_json(value, 'a list: a,b or, as JSON, ["a", "b"]')
    return [part.strip() for part in value.split(",")]


def parse_table(value: Any) -> Any:
    """Read a table from a JSON text. Return any other value unchanged."""
    if not isinstance(value, str):
        return value
    return _parse_json(value, 'a table, as JSON: {"name": "usi:PATH?nodes=500"}')


def _parse_json(text: str, wanted: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise ValueError(f"must be {wanted}") from None


def read_toml(path: Path) -> Tree:
    """Read a TOML file. Raises SettingsError."""
    try:
        # Some programs on Windows write a byte order mark; "utf-8-sig" skips this mark.
        tree = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file or folder") from None
    except IsADirectoryError:
        raise SettingsError(f"{path}: must be a TOML file, not a folder") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        text = f"must be a TOML file in UTF-8; byte {error.start + 1} is not UTF-8"
        raise SettingsError(f"{path}: {text}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
    if tree.keys() >= _OLDER_SYSTEM:
        text = "settings of the older system named Keisei (2025-2026), which have other meanings"
        raise SettingsError(f"{path}: {text}: keisei config show prints a file to start from")
    return tree


def _read_environment(settings: type[BaseSettings]) -> Tree:
    """Read the environment. Refuse unknown ``KEISEI_`` variables; pydantic would ignore them."""
    known = {
        f"{ENV_PREFIX}{name}__{key}".upper()
        for name, field in settings.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    } | {f"{ENV_PREFIX}{name}".upper() for name in settings.model_fields}
    old = {f"{ENV_PREFIX}{name.replace('.', '__')}".upper() for name in RENAMED}
    for name in os.environ:
        word = name.upper()
        if word.startswith(ENV_PREFIX) and word not in known | old:
            key = word.removeprefix(ENV_PREFIX).strip("_")
            same_key = {found for found in known if found.endswith(f"__{key}")}
            hint = did_you_mean(word, same_key or known)
            raise SettingsError(f"environment: {name}: no such setting{hint}")
    return EnvSettingsSource(settings)()


def _nest(flat: Mapping[str, Any]) -> Tree:
    """Turn a mapping with dotted keys into a tree with a subtree for each section."""
    tree: Tree = {}
    for key, value in flat.items():
        *sections, leaf = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return tree


def _merge_trees(low: Tree, high: Tree) -> Tree:
    merged = dict(low)
    for key, value in high.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge_trees(merged[key], value) if both else value
    return merged


def _has(tree: Any, path: Sequence[str]) -> bool:
    """Return whether ``tree`` has a value at ``path`` (keys, outermost first)."""
    for part in path:
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True
