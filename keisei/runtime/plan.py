"""The plan of a run: everything that its device thread and its event loop need to start."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from keisei.config import Settings

if TYPE_CHECKING:
    from keisei.ppo.learner import Learner
    from keisei.ppo.ranks import Ranks
    from keisei.store import Database, RunDirectory


Resume = bool | Literal["auto"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The arguments of ``Keisei``."""

    settings: Settings
    run: Path | None = None
    """Directory of the run. If None: a new directory, or with ``resume`` the newest run that has a
    checkpoint."""
    resume: Resume = False
    """Whether to continue an existing run; ``auto``: only if there is one."""
    init: str | Path | None = None
    """Checkpoint from which a new run takes its first weights."""
    keep_serving: bool = False
    """Whether to serve evaluations and move requests after training, until ``stop`` is called."""
    build: "Callable[[Settings], Learner] | None" = None
    """Function that returns a substitute for the real learner, for tests and benchmarks."""


@dataclass(frozen=True, slots=True)
class StartPoint:
    """The point where training begins: step 0, or the step of a checkpoint."""

    step: int = 0
    iteration: int = 0
    elapsed: float = 0.0
    """Seconds of training and evaluation before this point, without pauses."""
    saved: float | None = None
    """Time at which the checkpoint was saved, in seconds since the epoch; None for step 0."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run that is about to start. The user of the plan must close ``run`` and ``database``."""

    settings: Settings
    """Settings of the run, in which values that fit this machine have replaced ``auto``."""
    run: "RunDirectory"
    database: "Database"
    resumed: Path | None
    """Checkpoint from which a resumed run continues."""
    init: Path | None
    """Checkpoint from which a new run takes its first weights."""
    start: StartPoint
    evaluations: list[dict[str, Any]]
    """Evaluations of earlier processes, ended or not, newest first."""
    remarks: tuple[str, ...]
    """Remarks for the user, for example about ignored settings and refused checkpoints."""
    keep_serving: bool
    build: "Callable[[Settings], Learner]"
    ranks: "Ranks"
    """The processes that train together; this process is rank 0."""
