"""``WatchedRun``: a run that another process trains, read from its files."""

import time
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Never, Self

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from keisei.config import Run, Server, Settings
from keisei.errors import NotRunning
from keisei.evaluation.spec import CURRENT, EvaluationSpec
from keisei.events import Alert, Event, Iteration, Level, Reset, State, Status
from keisei.feed.hub import Hub
from keisei.feed.supervise import supervise
from keisei.match_rules import Mates
from keisei.play.mailbox import ChosenMove
from keisei.runtime.commands import CommandName
from keisei.runtime.evaluation_records import EvaluationHandle, EvaluationRecords
from keisei.runtime.plan import StartPoint
from keisei.runtime.status import RunState, StatusReport
from keisei.runtime.telemetry import Telemetry
from keisei.server.access import WATCHED
from keisei.shogi import Position
from keisei.store import DatabaseError, RunReader
from keisei.store.changes import Overview
from keisei.store.matches import MatchGame
from keisei.watch.files import Look, RunFiles
from keisei.watch.state import watched_state

TICK = 0.5
"""Seconds between two looks at the files."""
RECENT = 100
"""Maximum number of alerts of the watcher itself that ``history`` returns."""
_KINDS: dict[State, Any] = {"starting": "started", "stopping": "running"}
"""Kind of the status that tells a state, where the two have different names."""


class WatchedRun:
    """A run whose files another process writes. The files are read while the block is entered.

    The class implements the protocol ``keisei.server.source.Source``. The folder need not exist
    yet. If the run is removed, made again or resumed, this instance follows.
    """

    def __init__(self, path: Path, server: Server, *, tick: float = TICK) -> None:
        """``path``: the run directory. ``server``: settings of the server that shows the run."""
        self.reader = RunReader(path)
        self.settings = Settings(server=server, run=Run(root=self.reader.path.parent))
        """The run's settings, with ``server`` of this process."""
        self._path, self._server, self._tick = self.reader.path, server, tick
        self._files = RunFiles(self._path)
        self._state = self._new_state(StartPoint())
        self._records = EvaluationRecords(self._emit)
        self._look = Look()
        self._looks = 0
        self._unreadable = True
        """Whether the last look found a problem. The first look need not be confirmed."""
        self._newest: Status | None = None
        self._heard = 0.0
        self._trained, self._elapsed = 0, 0.0
        self._recent: deque[Alert] = deque(maxlen=RECENT)
        self._telling = False
        """Whether a new overview is told to the streams: the first one is not."""
        self.hub = Hub(self._describe)
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._apply(await to_thread.run_sync(self._files.look, 0))
        self._telling = True
        self._tasks = await anyio.create_task_group().__aenter__()
        for name, run in (("stream", self.hub.run), ("watch", self._follow)):
            task = partial(supervise, name, run, self._alert, progress=lambda: self._looks)
            self._tasks.start_soon(task)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    def close(self) -> None:
        """End all event streams with ``bye``. Later calls do nothing."""
        self.hub.close()
        self._records.close()

    async def _follow(self) -> None:
        while True:
            await anyio.sleep(self._tick)
            self._apply(await to_thread.run_sync(self._files.look, self._state.step))
            self._looks += 1

    # ------------------------------------------------------------------ what the server uses
    @property
    def evaluation_records(self) -> EvaluationRecords:
        """Records of the run's evaluations."""
        return self._records

    @property
    def telemetry(self) -> Telemetry:
        """Counts and distributions since this process began to watch the run's newest process."""
        return self._state.telemetry

    def status(self) -> StatusReport:
        """Return the state of the run, as far as its files tell it."""
        report = self._state.report(
            stopping=False,
            elapsed=self._elapsed,
            phase="unknown",
            beat_age=max(0.0, time.time() - self._heard) if self._heard else 0.0,
            clients=self.hub.clients,
            dropped=0,
            degraded=(),
        )
        return replace(report, watched=True)

    def history(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return statuses and alerts, newest first. The watcher's own alerts have no id. Blocks."""
        own = [] if after is not None else list(self._recent)
        try:
            kept = self.reader.events(limit, after)
        except DatabaseError:
            if not own:
                raise
            kept = []
        newest = kept[0]["time"] if kept else 0.0
        return [*({**e.to_dict(), "topic": e.topic} for e in own if e.time > newest), *kept]

    def submit(self, name: CommandName) -> Never:
        """Raise NotRunning."""
        raise NotRunning(WATCHED)

    async def show(self, game: int | Literal["longest", "newest"]) -> int:
        """Raise NotRunning."""
        raise NotRunning(WATCHED)

    def stop(self) -> None:
        """Raise NotRunning. The process that trains the run can be stopped, not this one."""
        raise NotRunning(WATCHED)

    async def choose_move(
        self,
        position: Position,
        *,
        model: str = CURRENT,
        greedy: bool = True,
        temperature: float = 1.0,
        mates: Mates = 1,
        simulations: int = 0,
        seconds: float | None = None,
    ) -> ChosenMove:
        """Raise NotRunning."""
        raise NotRunning(WATCHED)

    async def keep_game(self, game: MatchGame, person: str) -> int:
        """Raise NotRunning."""
        raise NotRunning(WATCHED)

    async def evaluate(self, spec: EvaluationSpec, key: str | None = None) -> EvaluationHandle:
        """Raise NotRunning."""
        raise NotRunning(WATCHED)

    # ------------------------------------------------------------------ what the files tell
    def _apply(self, look: Look) -> None:
        """Update the state from a look at the files, and send the events."""
        before, self._unreadable = self._unreadable, bool(look.problem)
        if look.problem and look.exists and not before:
            return  # a file can be unreadable for a moment, for example while it is replaced
        if look.problem and look.problem != self._look.problem and self._newest:
            self._alert("watch", "error", look.problem)
        self._look = look
        if look.settings:
            run = look.settings.run.model_copy(update={"root": self._path.parent})
            self.settings = look.settings.model_copy(update={"server": self._server, "run": run})
        if look.changes.overview:
            self._begin(look.changes.overview)
        for event in look.changes.events:
            self._hand_on(event)
        for row in look.changes.evaluations:
            self._records.update(row)
        for found in (look.board, *look.log):
            if found:
                self._hand_on(replace(found, run=self._path.name))
        self._tell_state()

    def _begin(self, found: Overview) -> None:
        """Begin anew with the overview of a run; clients must read the history again."""
        last = found.iteration
        start = StartPoint(last.step, last.iteration) if last else StartPoint()
        self._state = self._new_state(start)
        self._trained, self._elapsed = start.step, found.elapsed
        self._newest, self._heard = found.status, 0.0
        self._records.close()
        self._records = EvaluationRecords(self._emit)
        self._records.restore(found.evaluations)
        for event in (found.checkpoint, found.status, last):
            if event:
                self._update(event)
        if found.started is not None:
            self._state.started = found.started
        if self._telling:
            self.hub.publish(self._state.event(Reset, state=self._state.state))

    def _describe(self, kind: Literal["hello", "reset", "bye"]) -> Status:
        return self._state.status(kind)

    def _new_state(self, start: StartPoint) -> RunState:
        return RunState(self._path.name, self.settings, start)

    def _hand_on(self, event: Event) -> None:
        if isinstance(event, Status) and event.kind != "checkpoint":
            self._newest = event
        if isinstance(event, Iteration):
            speed = event.values.get("speed/steps_per_second", 0.0)
            self._elapsed += (event.step - self._trained) / speed if speed > 0 else 0.0
            self._trained = event.step
        self._update(event)
        self.hub.publish(event)

    def _update(self, event: Event) -> None:
        self._state.update(event)
        if not isinstance(event, Alert):  # the watchdog's alert says that the device is silent
            self._heard = max(self._heard, event.time)

    def _tell_state(self) -> None:
        """If the lock or the age of the files tells another state, send a status with it."""
        state, message = watched_state(self._look, self._newest, self._heard)
        if (state, message) != (self._state.state, self._state.message):
            kind = _KINDS.get(state, state)
            event = self._state.event(Status, kind=kind, state=state, message=message)
            self._state.update(event)
            self.hub.publish(event)

    def _alert(self, name: str, level: Level, message: str) -> None:
        """Send an alert of the watcher itself. The run's database does not get the alert."""
        alert = self._state.event(Alert, name=name, level=level, message=message)
        self._recent.appendleft(alert)
        self._state.update(alert)
        self.hub.publish(alert)

    def _emit(self, kind: type[Event], /, **fields: Any) -> None:
        self.hub.publish(self._state.event(kind, **fields))
