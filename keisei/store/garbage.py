"""Find and remove what no run needs: leftovers of crashes, uploaded W&B data, empty runs."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keisei.store.database import DatabaseError
from keisei.store.directory import RunError
from keisei.store.layout import (
    CHECKPOINTS,
    DELETED,
    LOCK_FILE,
    TEMPORARY,
    checkpoint_folders,
    leftovers,
)
from keisei.store.lock import holder_state, locked
from keisei.store.reader import RunReader
from keisei.store.runs import delete_run, disk_use, run_folders


@dataclass(frozen=True, slots=True)
class Garbage:
    """A file or folder that no run needs."""

    path: Path
    reason: str
    run: Path | None
    """The run whose lock is necessary for the removal; None if the run is already gone."""
    bytes: int

    def remove(self) -> None:
        """Remove the file or folder.

        Raises RunLockedError if another process uses the run, RunError or OSError.
        """
        if self.run == self.path:
            if not _is_empty(self.run):
                raise RunError(f"{self.run} is not deleted, because it is no longer empty")
            delete_run(self.path)
        elif self.run:
            with locked(self.run):
                _remove(self.path)
        else:
            _remove(self.path)


def find_garbage(root: Path) -> list[Garbage]:
    """Return what can be removed from the folder ``root``, which contains runs. Raises OSError.

    A run that a process uses, on this machine or on another one, has no garbage. Checkpoints
    are never garbage.
    """
    found = [
        Garbage(path, "deletion of a run that was interrupted", None, disk_use(path))
        for path in sorted(root.glob(f"{DELETED}*"))
    ]
    for run in run_folders(root):
        if holder_state(run / LOCK_FILE) in {"ended", "interrupted"}:
            found += [Garbage(path, why, run, disk_use(path)) for path, why in _in_run(run)]
    return found


def _in_run(run: Path) -> Iterator[tuple[Path, str]]:
    """Yield the garbage in a run's folder, with reasons. An empty run is garbage as a whole."""
    if _is_empty(run):
        yield run, "run without a checkpoint, a metric or an evaluation"
        return
    for path in sorted(leftovers(run / CHECKPOINTS)):
        yield path, "save or removal of a checkpoint that was interrupted"
    for path in (run / name for name in TEMPORARY):
        if path.is_symlink() or path.exists():
            yield path, "save of a file that was interrupted"
    for mark in sorted((run / "wandb").glob("*/*.wandb.synced")):  # `wandb sync` makes this file
        if not mark.parent.is_symlink():
            yield mark.parent, "W&B data that was uploaded"


def _is_empty(run: Path) -> bool:
    reader = RunReader(run)
    try:
        return not (
            checkpoint_folders(run / CHECKPOINTS)
            or reader.summary()["step"]
            or reader.evaluations()
            or run_folders(run)
        )
    except DatabaseError:  # what can't be read may be worth something
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
