"""Recognises files of the older system named Keisei, whose formats this one cannot read."""

import sqlite3
from contextlib import closing
from pathlib import Path

from keisei.store.layout import SETTINGS_FILE

_FILES = (
    "effective_config.json",  # of 2025: one folder for each run
    "final_model.pth",
    "checkpoint_*.pth",
    "ppo_shogi_*.pth",
    "epoch_*.pt",  # of 2026: folders of checkpoints, and one database
    "sl_final.pt",
    "entries/*/weights.pt",
)
"""Patterns of the names that the older system gives its files."""
_TABLES = {"training_state", "schema_version"}
"""Tables in each database of the older system."""
_REFUSAL = (
    "{path}: looks like a file or folder of the older system named Keisei (2025-2026): its networks"
    " see other planes and number the moves differently, so they can't be used, not even with"
    " --init; game records (KIF, KI2, CSA, USI) can: keisei warmup learns from them"
)


def refusal(path: Path) -> str:
    """Return the message that refuses a path of the older system; "" for any other path."""
    try:
        return _REFUSAL.format(path=path) if _is_of_older_system(path) else ""
    except OSError:  # for example, another process is removing the folder
        return ""


def _is_of_older_system(path: Path) -> bool:
    if (path / SETTINGS_FILE).exists():  # a run of ours
        return False
    databases = path.glob("*.db") if path.is_dir() else [path]
    return (
        any(next(path.glob(pattern), None) for pattern in _FILES)
        or (path.suffix in {".pt", ".pth"} and path.is_file())
        or any(map(_is_database, databases))
    )


def _is_database(file: Path) -> bool:
    """Return whether a file is a database of the older system."""
    if not file.is_file():
        return False
    uri = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as db:
            return {name for (name,) in db.execute("SELECT name FROM sqlite_schema")} >= _TABLES
    except (sqlite3.Error, UnicodeDecodeError):
        return False
