"""``keisei config migrate``: write the new names of settings into an older TOML file."""

import argparse
import re
import sys
import tomllib
from pathlib import Path

from keisei.cli import process
from keisei.settings_sources import (
    Layer,
    SettingsError,
    Tree,
    old_names,
    read_toml,
    with_new_names,
)

_SECTION = re.compile(r"\s*\[\s*[\"']?([\w-]+)[\"']?\s*\]")


def run(args: argparse.Namespace) -> int:
    """Print the new text of the file, or write it (``--write``). List the changes on stderr."""
    from keisei.config import Settings
    from keisei.store import SETTINGS_FILE

    file: Path = args.file
    with process.problems():
        old = read_toml(file)
        text = _run_text(file) if file.name == SETTINGS_FILE else _renamed(file, old)
        new = tomllib.loads(text)
        Settings.from_layers([Layer(str(file), new)])  # raises SettingsError
        changes = _changes(old, new)
        if args.write and changes:
            _write(file.resolve(), text)
    for change in changes or ["nothing to change"]:
        print(f"{file}: {change}", file=sys.stderr)
    if not args.write:
        print(text, end="")
    return 0


def _run_text(file: Path) -> str:
    """Return the new text of a run's ``run.toml``. Raises RunError."""
    from keisei.store import read_settings
    from keisei.store.directory import settings_text

    return settings_text(read_settings(file.parent)).decode()


def _renamed(file: Path, tree: Tree) -> str:
    """Return the text of a file with new names; all comments stay. Raises SettingsError."""
    renamed = old_names(tree)
    section, lines = "", []
    for line in file.read_bytes().decode("utf-8-sig").splitlines(keepends=True):
        if found := _SECTION.match(line):
            section = found[1]
        lines.append(_rename(line, section, renamed))
    text = "".join(lines)
    if tomllib.loads(text) != with_new_names(tree):
        names = "; ".join(f"{name}.{old} is now {name}.{new}" for name, old, new in renamed)
        raise SettingsError(f"{file}: can't change this text; change it by hand: {names}")
    return text


def _rename(line: str, section: str, renamed: list[tuple[str, str, str]]) -> str:
    """Return a line of the section (empty: before all sections) with the new name of its key."""
    for name, old, new in renamed:
        before = {name: "", "": rf"{name}\s*\.\s*"}.get(section)
        if before is not None:
            line = re.sub(rf"^(\s*{before}[\"']?){old}(?=[\"']?\s*=)", rf"\g<1>{new}", line)
    return line


def _changes(old: Tree, new: Tree) -> list[str]:
    """Return sentences that say how the settings in ``new`` differ from those in ``old``."""
    renamed = [f"{name}.{key} is now {name}.{to}" for name, key, to in old_names(old)]
    known = _flat(with_new_names(old))
    added = {key: value for key, value in _flat(new).items() if key not in known}
    return renamed + [f"added {key} = {value!r}" for key, value in added.items()]


def _flat(tree: Tree) -> Tree:
    """Return the settings of all sections by dotted key."""
    return {
        f"{section}.{key}": value
        for section, keys in tree.items()
        if isinstance(keys, dict)
        for key, value in keys.items()
    }


def _write(file: Path, text: str) -> None:
    """Replace the file atomically. The lock of a run protects its ``run.toml``."""
    from contextlib import nullcontext

    from keisei.store import SETTINGS_FILE
    from keisei.store.files import replace_synced
    from keisei.store.lock import locked

    with locked(file.parent) if file.name == SETTINGS_FILE else nullcontext():
        replace_synced(file, text.encode())
