"""Which checkpoints of a run stay: the newest ones, one in every N steps, and pinned ones."""

from collections.abc import Sequence
from pathlib import Path

from keisei.config import Run
from keisei.store.files import sync_folder
from keisei.store.layout import PIN


def surplus(folders: Sequence[Path], settings: Run) -> list[Path]:
    """Return the checkpoints that the settings do not keep.

    The settings keep the newest ``checkpoints_kept`` checkpoints. They also keep, for each multiple
    of ``checkpoints_every_steps`` from the first on, the first checkpoint at this step or later.

    Args:
        folders: the folders of the checkpoints, sorted by step.
        settings: the section ``run`` of the run's settings.
    """
    every = settings.checkpoints_every_steps
    first: dict[int, Path] = {}
    for folder in folders:
        if every and (span := int(folder.name) // every):
            first.setdefault(span, folder)
    return [
        folder for folder in folders[: -settings.checkpoints_kept] if folder not in first.values()
    ]


def pin(checkpoint: Path) -> None:
    """Mark a checkpoint, so that it is never removed. Raises OSError."""
    (checkpoint / PIN).touch()
    sync_folder(checkpoint)


def unpin(checkpoint: Path) -> None:
    """Remove the mark of a checkpoint, if it has one. Raises OSError."""
    (checkpoint / PIN).unlink(missing_ok=True)
    sync_folder(checkpoint)
