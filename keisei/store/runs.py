"""The runs in a folder: their ids, states, steps and newest results."""

from pathlib import Path
from typing import Any

from keisei.store.database import DatabaseError
from keisei.store.directory import RunError
from keisei.store.layout import LOCK_FILE, SETTINGS_FILE
from keisei.store.lock import holder_state
from keisei.store.reader import RunReader

UNKNOWN = ("step", "started", "updated", "score", "opponent", "problem")
"""Keys of the result of ``describe_run``; an unknown value is None."""


def run_folders(root: Path) -> list[Path]:
    """Return the folders of the runs in ``root``, newest run first. Raises OSError."""
    if not root.is_dir():
        return []
    created = []
    for folder in root.iterdir():
        try:
            created.append(((folder / SETTINGS_FILE).stat().st_mtime_ns, folder.name, folder))
        except OSError:  # not a run, or not readable
            continue
    return [folder for _, _, folder in sorted(created, reverse=True)]


def describe_run(folder: Path) -> dict[str, Any]:
    """Return the run's ``id``, ``state`` and ``problem``, and the result of ``summary``.

    ``problem`` says why a file of the run can't be read; it is None for a sound run. This function
    never raises for a damaged run.
    """
    found: dict[str, Any] = {"id": folder.name, "state": "unknown", **dict.fromkeys(UNKNOWN)}
    try:
        found["state"] = holder_state(folder / LOCK_FILE)
        reader = RunReader(folder)
        found |= reader.summary()
        reader.config()
    except (DatabaseError, RunError, OSError) as error:
        found["problem"] = str(error)
    return found
