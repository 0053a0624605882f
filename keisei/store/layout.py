"""Names of a run's files, and the list of its checkpoints."""

import shutil
from pathlib import Path

SETTINGS_FILE = "run.toml"
LOCK_FILE = "lock"
DATABASE_FILE = "keisei.db"
BEST = "best"
CHECKPOINTS = "checkpoints"


def checkpoint_name(step: int) -> str:
    """Return the folder name of a step's checkpoint. Sorting the names sorts the steps, too."""
    return f"{step:012d}"


def checkpoint_folders(folder: Path) -> list[Path]:
    """Return the folders of all valid and damaged checkpoints in ``folder``, sorted by step."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()),
        key=lambda path: int(path.name),
    )


def remove_leftovers(folder: Path) -> None:
    """Remove the files that a crash during a save or a removal left in ``folder``.

    Only the process that has the run's lock may call this function. Otherwise it could remove the
    files of a save that another process has not finished.
    """
    for path in (*folder.glob(".new-*"), *folder.glob(".old-*")):
        shutil.rmtree(path)
