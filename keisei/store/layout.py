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
DELETED = ".deleted-"
"""Beginning of the name of a run's folder while the folder is being deleted."""
TEMPORARY = tuple(f".{name}.new" for name in (SETTINGS_FILE, BEST, BOARD_FILE))
"""Names of the files that replace a file of a run's folder as soon as they are complete."""
PIN = "pinned"
"""Name of the empty file that marks a checkpoint, in the checkpoint's folder, as pinned."""


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


def best_checkpoint(run: Path) -> Path | None:
    """Return the path of a run's best checkpoint, or None. ``best`` is a link or a folder."""
    best = run / BEST
    if not best.exists():
        return None
    return run / best.readlink() if best.is_symlink() else best


def best_steps(run: Path) -> set[int]:
    """Return the step of a run's best checkpoint as a set, which is empty if there is none."""
    best = best_checkpoint(run)
    return {int(best.name)} if best and best.name.isdecimal() else set()


def pinned_steps(folder: Path) -> set[int]:
    """Return the steps of the checkpoints in ``folder`` that a user has pinned."""
    return {int(path.name) for path in checkpoint_folders(folder) if (path / PIN).exists()}


def leftovers(folder: Path) -> list[Path]:
    """Return the files in ``folder`` of a save or a removal that a crash interrupted."""
    return [*folder.glob(".new-*"), *folder.glob(".old-*")]


def remove_leftovers(folder: Path) -> None:
    """Remove from ``folder`` the files of a save or a removal that a crash interrupted.

    Only the process that has the run's lock may call this function. Another process could
    remove the files of a save that is still going on.
    """
    for path in leftovers(folder):
        shutil.rmtree(path)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint. Raises OSError."""
    # Rename first. Otherwise a crash during the removal would leave a damaged checkpoint.
    old = path.with_name(f".old-{path.name}")
    path.rename(old)
    shutil.rmtree(old)
