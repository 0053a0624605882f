"""A run whose files are open: everything that its device thread and its loop need to start."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.config import Settings

if TYPE_CHECKING:
    from keisei.ppo.learner import Learner
    from keisei.ppo.ranks import Ranks
    from keisei.store import Database, RunDirectory


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The arguments of ``Keisei``."""

    settings: Settings
    run: Path | None = None
    """Directory of the run; None makes a new one, or with ``resume`` takes the newest."""
    resume: bool = False
    init: Path | None = None
    """Checkpoint whose weights a new run starts from."""
    keep_serving: bool = False
    """Whether to answer evaluations and moves after the end of training, until ``stop``."""
    build: "Callable[[Settings], Learner] | None" = None
    """Makes another learner than the real one, for tests and benchmarks."""


@dataclass(frozen=True, slots=True)
class StartPoint:
    """The point where training begins: step 0, or a checkpoint."""

    step: int = 0
    iteration: int = 0
    elapsed: float = 0.0
    """Seconds trained before."""
    saved: float | None = None
    """When the checkpoint was taken, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run that is about to start. Its holder closes ``run`` and ``database``."""

    settings: Settings
    """Settings as they will be used; nothing is left to decide."""
    run: "RunDirectory"
    database: "Database"
    resumed: Path | None
    """Checkpoint to continue from."""
    init: Path | None
    """Checkpoint whose weights to start from."""
    start: StartPoint
    evaluations: list[dict[str, Any]]
    """Evaluations of the run's earlier processes, newest first; some have not ended."""
    remarks: tuple[str, ...]
    """Remarks for the user: settings ignored, checkpoints refused."""
    keep_serving: bool
    build: "Callable[[Settings], Learner]"
    ranks: "Ranks"
    """The processes that train together; this one is rank 0."""
