"""``FakeRun``: a run with made-up metrics, games and evaluations."""

import asyncio
import random
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

import anyio
from anyio.abc import TaskGroup

from keisei.config import Settings
from keisei.errors import NotRunning
from keisei.evaluation.spec import CURRENT, EvaluationSpec
from keisei.events import Alert, Board, Event, Failed, Iteration, Level, State, Status
from keisei.feed.hub import Hub
from keisei.match_rules import Mates
from keisei.play.mailbox import ChosenMove
from keisei.runtime.commands import CommandName
from keisei.runtime.evaluation_records import EvaluationHandle, EvaluationMethods, EvaluationRecords
from keisei.runtime.plan import StartPoint
from keisei.runtime.status import RunState, StatusReport
from keisei.runtime.telemetry import Telemetry
from keisei.shogi import Position
from keisei.store.matches import MatchGame
from keisei.testing import evaluations
from keisei.testing.games import made_up_boards, made_up_move
from keisei.testing.metrics import made_up_metrics
from keisei.testing.reader import STEPS, FakeReader

RUN = "20240229-120000-fake"
"""Id of every fake run."""
ALERT_EVERY = 40
"""Number of iterations between two alerts."""


class FakeRun(EvaluationMethods):
    """A run that emits made-up but plausible metrics, boards, alerts and evaluations.

    The class implements the protocol ``keisei.server.source.Source``, which the server uses.
    Therefore ``create_app(FakeRun())`` is the real service with made-up numbers.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        history: int = 0,
        compile_seconds: float = 0.2,
        iteration_seconds: float = 0.5,
        board_seconds: float = 0.25,
        seed: int = 0,
    ) -> None:
        """Prepare a fake run. ``start`` or ``async with`` begins the run.

        Args:
            settings: settings that the run shows; None means the default settings.
            history: number of iterations that are complete before the run begins.
            compile_seconds: seconds until training starts.
            iteration_seconds: seconds that an iteration takes.
            board_seconds: seconds between two moves of the game on the board.
            seed: seed of the made-up numbers.
        """
        self.settings = settings or Settings()
        self.reader = FakeReader()
        self._state = RunState(RUN, self.settings, StartPoint())
        self.hub = Hub(self._state.status)
        self.checkpoint_age: float | None = None
        """Seconds since the newest checkpoint, for ``status``. Tests set this value."""
        self._random = random.Random(seed)
        self._compile_seconds = compile_seconds
        self._iteration_seconds = iteration_seconds
        self._board_seconds = board_seconds
        self._state.started -= history * iteration_seconds
        self._records = EvaluationRecords(self._emit)
        self._game = 1
        """Number of the game on the board."""
        self._task: asyncio.Task[None] | None = None
        self._tasks: TaskGroup
        self._begun = anyio.Event()
        self._training = anyio.Event()
        """Event that is set while the run pretends to train.

        A pause or a failure replaces the event by a new event, which is not set."""
        self._changed = anyio.Event()
        self.ended = anyio.Event()
        """Event that is set when the run has been stopped."""
        for _ in range(history):
            self._state.update(self._next_iteration())

    async def start(self) -> Self:
        """Begin the run without ``async with``. Any task may call ``aclose`` later."""
        self._task = asyncio.create_task(self._live())
        await self._begun.wait()
        return self

    async def aclose(self) -> None:
        """Stop the run and wait for its end. A second call does nothing."""
        if self._task:
            self.stop()
            self._tasks.cancel_scope.cancel()
            await self._task

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _live(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            for task in (self.hub.run, self._train, self._show_games):
                self._tasks.start_soon(task)
            self._begun.set()

    # ------------------------------------------------------------ what the server uses

    @property
    def evaluation_records(self) -> EvaluationRecords:
        """Records of the run's evaluations."""
        return self._records

    def status(self) -> StatusReport:
        """Return the made-up status of the run."""
        report = self._state.report(
            stopping=False,
            elapsed=self._state.iteration * self._iteration_seconds,
            phase="idle" if self.state == "paused" else "iteration",
            beat_age=0.0,
            clients=self.hub.clients,
            dropped=0,
            degraded=(),
        )
        return replace(report, checkpoint_age=self.checkpoint_age)

    @property
    def telemetry(self) -> Telemetry:
        """Counts and distributions of the made-up events."""
        return self._state.telemetry

    def history(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return alerts, newest first."""
        return self.reader.events(limit, after)

    def submit(self, name: CommandName) -> None:
        """Carry out a command immediately. Raises NotRunning."""
        self._require("running", "paused")
        if name == "checkpoint":
            self._change_state("checkpoint", self.state)
        elif name == "pause":
            self._training = anyio.Event()
            self._change_state("paused", "paused")
        else:
            self._training.set()
            self._change_state("resumed", "running")

    def stop(self) -> None:
        """End the run, its evaluations and its streams. A second call does nothing."""
        if not self.ended.is_set():
            self._change_state("stopped", "failed" if self.state == "failed" else "stopped")
            self._records.close()
            self.hub.close()
            self.ended.set()

    async def show(self, game: int | Literal["longest", "newest"]) -> int:
        """Show the game with this number; for ``longest`` and ``newest``, show the next game.

        Games are made up, so any number is allowed. Raises NotRunning.
        """
        self._require("running", "paused")
        self._game = game if isinstance(game, int) else self._game + 1
        return self._game

    async def evaluate(self, spec: EvaluationSpec, key: str | None = None) -> EvaluationHandle:
        """Start an evaluation that pretends to play for a few seconds.

        If an earlier call had the same ``key``, return the evaluation of that call. Raises
        InboxFull, NotRunning or KeyReused.
        """
        self._require("running", "paused")
        record, new = self._records.add(spec, key)
        if new:
            evaluations.report(self._records, record, spec, 0, "queued")
            self._tasks.start_soon(evaluations.play, self._records, record, spec)
        return EvaluationHandle(record)

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
        """Return a random legal move with a made-up value. Nothing is searched."""
        self._require("running", "paused")
        chosen = await anyio.to_thread.run_sync(made_up_move, position, self._random)
        name = f"{RUN}@{self.step}" if model == CURRENT else model
        return replace(chosen, player=name)

    async def keep_game(self, game: MatchGame, person: str) -> int:
        """Keep a game that a person played in ``reader``."""
        return self.reader.keep(game)

    # ------------------------------------------------------------ for tests

    @property
    def state(self) -> State:
        """The state that the run pretends to be in."""
        return self._state.state

    @property
    def step(self) -> int:
        """The number of plies that the run pretends to have trained on."""
        return self._state.step

    def fail(self, message: str = "made to fail") -> None:
        """Pretend that the training failed with a RuntimeError."""
        self._training = anyio.Event()  # never set again
        self._emit(Failed, message=message, type="RuntimeError")

    def alert(self, name: str, level: Level, message: str) -> None:
        """Send an alert, and keep it in ``reader``."""
        alert = self._state.event(Alert, name=name, level=level, message=message)
        self.reader.alerts.append(alert)
        self._publish(alert)

    async def until(self, state: State) -> None:
        """Wait until the run has the given state."""
        while self.state != state:
            self._changed = anyio.Event()
            await self._changed.wait()

    # ------------------------------------------------------------ tasks

    async def _train(self) -> None:
        self._change_state("compiling", "compiling", "the first start takes about fifteen seconds")
        await anyio.sleep(self._compile_seconds)
        self._change_state("running", "running")
        self._training.set()
        while True:
            await self._training.wait()
            self._publish(self._next_iteration())
            if self._state.iteration % ALERT_EVERY == 8:
                self.alert("first_mover_bias", "warning", "sente scored 0.58 in recent games")
            await anyio.sleep(self._iteration_seconds)

    def _next_iteration(self) -> Iteration:
        number = self._state.iteration + 1
        item = Iteration(
            run=RUN,
            step=number * STEPS,
            time=self._state.started + number * self._iteration_seconds,
            iteration=number,
            values=made_up_metrics(number, self._random),
        )
        self.reader.iterations.append(item)
        return item

    async def _show_games(self) -> None:
        while True:
            number = self._game
            for fields in made_up_boards(number, self._random):
                await self._training.wait()
                if self._game != number:  # `show` chose another game
                    break
                self._emit(Board, **fields)
                await anyio.sleep(self._board_seconds)
            else:
                self._game += 1

    # ------------------------------------------------------------ events

    def _require(self, *states: State) -> None:
        if self.state not in states:
            raise NotRunning(f"The run is {self.state}.")

    def _change_state(self, kind: Any, state: State, message: str = "") -> None:
        self._emit(Status, kind=kind, state=state, message=message)

    def _emit(self, kind: type[Event], /, **fields: Any) -> None:
        self._publish(self._state.event(kind, **fields))

    def _publish(self, event: Event) -> None:
        self._state.update(event)
        self.hub.publish(event)
        self._changed.set()
