"""Names of a run's files, and the list of its checkpoints."""

import shutil
from pathlib import Path

SETTINGS_FILE = "run.toml"
LOCK_FILE = "lock"
DATABASE_FILE = "keisei.db"
LOG_FILE = "keisei.log"
BOARD_FILE = "board.json"
BEST = "best"
CHECKPOINTS = "checkpoints"


def checkpoint_name(step: int) -> str:
    """Return the folder name of a step's checkpoint. The names sort in the order of steps."""
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
    """Remove from ``folder`` the files of a save or a removal that a crash interrupted.

    Only the process that has the run's lock may call this function. Another process could
    remove the files of a save that is still going on.
    """
    for path in (*folder.glob(".new-*"), *folder.glob(".old-*")):
        shutil.rmtree(path)
