"""The current state of a run, kept up to date by its events."""

import time
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from keisei.config import Settings
from keisei.events import Board, Event, Iteration, State, Status
from keisei.runtime.plan import StartPoint
from keisei.runtime.telemetry import Telemetry

AnyEvent = TypeVar("AnyEvent", bound=Event)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The state of a run at one moment."""

    run: str
    """Id of the run."""
    state: State
    message: str
    """Text about the state, for the user."""
    step: int
    iteration: int
    steps_per_second: float
    """Steps per second in the newest iteration; 0 before the first iteration ends."""
    started: float
    """Time at which this process opened the run, in seconds since the epoch."""
    elapsed: float
    """Seconds of training and evaluation until now, in all processes of the run, without pauses."""
    device: str
    dtype: str
    threads: int
    """Number of CPU threads that torch uses."""
    net: str
    """Kind and size of the network."""
    phase: str
    """Phase of the device thread, such as ``compile``, ``iteration`` or ``idle``."""
    beat_age: float
    """Seconds since the device thread last reported its phase."""
    clients: int
    """Number of open event streams."""
    dropped: int
    """Number of events that were lost, for example because a sink's queue was full."""
    checkpoint: int | None
    """Step of the newest checkpoint; None before the first checkpoint."""
    checkpoint_age: float | None
    """Seconds since the newest checkpoint was saved."""
    showcase: int | None = None
    """Number of the self-play game that ``board`` events show; None before the first event."""
    degraded: tuple[str, ...] = ()
    """Parts outside training that have stopped working, such as a database on a full disk."""
    watched: bool = False
    """Whether this server only reads the files of the run, which another process writes."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


class RunState:
    """The state of a run, derived from its events. Event loop only."""

    def __init__(self, run: str, settings: Settings, start: StartPoint) -> None:
        self.run = run
        self.state: State = "starting"
        self.message = ""
        self.step = start.step
        self.iteration = start.iteration
        self.steps_per_second = 0.0
        self.showcase: int | None = None
        self.started = time.time()
        self.telemetry = Telemetry(start.step)
        self.checkpoint = None if start.saved is None else start.step
        self._checkpoint_time = start.saved or 0.0
        self._settings = settings

    def update(self, event: Event) -> None:
        """Update the state from an event. The step never decreases."""
        self.telemetry.update(event)
        self.step = max(self.step, event.step)
        if isinstance(event, Status):
            self.state = event.state
            if event.kind == "checkpoint":
                self.checkpoint, self._checkpoint_time = event.step, event.time
            else:
                self.message = event.message
        elif isinstance(event, Iteration):
            self.iteration = event.iteration
            self.steps_per_second = event.values.get("speed/steps_per_second", 0.0)
        elif isinstance(event, Board):
            self.showcase = event.game

    def event(self, kind: type[AnyEvent], /, **fields: Any) -> AnyEvent:
        """Return an event of class ``kind`` with the current time and step. Thread-safe."""
        return kind(run=self.run, step=self.step, time=time.time(), **fields)

    def status(self, kind: Any) -> Status:
        """Return a status event of this kind with the current state."""
        return self.event(Status, kind=kind, state=self.state, message=self.message)

    def report(
        self,
        *,
        stopping: bool,
        elapsed: float,
        phase: str,
        beat_age: float,
        clients: int,
        dropped: int,
        degraded: tuple[str, ...],
    ) -> StatusReport:
        """Return the status report. ``stopping``: whether a stop was requested."""
        net = self._settings.net
        stopping = stopping and self.state not in {"stopped", "finished", "failed"}
        return StatusReport(
            run=self.run,
            state="stopping" if stopping else self.state,
            message="" if stopping else self.message,
            step=self.step,
            iteration=self.iteration,
            steps_per_second=self.steps_per_second,
            started=self.started,
            elapsed=elapsed,
            device=self._settings.device,
            dtype=self._settings.compute.dtype,
            threads=self._settings.compute.threads,
            net=f"{net.kind} {net.blocks}x{net.channels}",
            phase=phase,
            beat_age=beat_age,
            clients=clients,
            dropped=dropped,
            checkpoint=self.checkpoint,
            checkpoint_age=None if self.checkpoint is None else time.time() - self._checkpoint_time,
            showcase=self.showcase,
            degraded=degraded,
        )
