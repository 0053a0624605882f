"""Remove the checkpoints of a run that is not training, by the rules of its settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keisei.config import Run
from keisei.events import EVALUATION_OVER
from keisei.store.checkpoints import read_state
from keisei.store.layout import (
    CHECKPOINTS,
    best_steps,
    checkpoint_folders,
    pinned_steps,
    remove_checkpoint,
)
from keisei.store.manifest import CheckpointError, verify
from keisei.store.reader import RunReader
from keisei.store.retention import surplus


@dataclass(frozen=True, slots=True)
class Checked:
    """A checkpoint of which every byte was read."""

    path: Path
    error: CheckpointError | None
    """Why the checkpoint is not valid; None for a valid checkpoint."""


def check_all(run: Path) -> list[Checked]:
    """Read every byte of every checkpoint of a run; return the checkpoints, sorted by step."""
    return [check(path) for path in checkpoint_folders(run / CHECKPOINTS)]


def check(path: Path) -> Checked:
    """Read every byte of a checkpoint."""
    try:
        verify(path)
    except CheckpointError as error:
        return Checked(path, error)
    return Checked(path, None)


def removable(run: Path, settings: Run) -> list[Path]:
    """Return the checkpoints that can be removed, sorted by step.

    Damaged checkpoints are not among them, and do not count as newest checkpoints. The newest valid
    checkpoint, the best one, pinned ones and those that a resumed run would need always stay.

    Raises DatabaseError.
    """
    valid = [found.path for found in check_all(run) if found.error is None]
    if not valid:
        return []
    folder = run / CHECKPOINTS
    needed = pinned_steps(folder) | best_steps(run) | _awaited(run, valid)
    return [path for path in surplus(valid, settings) if int(path.name) not in needed]


def remove(paths: Sequence[Path]) -> None:
    """Remove checkpoints of a run. This process must have the run's lock. Raises OSError."""
    for path in paths:
        remove_checkpoint(path)


def _awaited(run: Path, valid: Sequence[Path]) -> set[int]:
    """Return the steps of the checkpoints that the run needs if it is resumed.

    Unfinished evaluations and rollbacks need these checkpoints.
    """
    waiting = [row for row in RunReader(run).evaluations() if row["state"] not in EVALUATION_OVER]
    players = [path for row in waiting for path in row.get("players", {}).values()]
    steps = {int(Path(path).name) for path in players if path.startswith(CHECKPOINTS)}
    good: dict[str, Any] = read_state(valid[-1]).get("good") or {}
    trial = good.get("trial") or [None, None]
    return steps | {step for step in (good.get("newest"), good.get("proven"), trial[1]) if step}
