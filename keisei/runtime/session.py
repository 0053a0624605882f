"""``Keisei``: a run inside the event loop of any program."""

import asyncio
import math
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from anyio import CancelScope, to_thread

from keisei.config import Settings
from keisei.errors import NotRunning, TrainingFailed
from keisei.events import TOPICS, Event, Level, Topic
from keisei.feed.callbacks import Callback
from keisei.feed.hub import Hub
from keisei.feed.sinks import RunInfo, Sink
from keisei.match_rules import Mates
from keisei.play.mailbox import ChosenMove, Command, Mailbox, MoveRequest
from keisei.runtime.commands import COMMANDS, CommandName, Show
from keisei.runtime.evaluation_records import EvaluationHandle, EvaluationMethods, EvaluationRecords
from keisei.runtime.plan import Resume, RunPlan, RunRequest
from keisei.runtime.status import StatusReport
from keisei.runtime.telemetry import Telemetry
from keisei.shogi import Position

if TYPE_CHECKING:
    from keisei.evaluation.spec import EvaluationSpec
    from keisei.runtime.life import RunLife
    from keisei.runtime.worker import RunOutcome
    from keisei.search import Search
    from keisei.store import MatchGame, RunReader


class Keisei(EvaluationMethods):
    """A run that trains inside an ``async with`` block; leaving the block stops the run.

    ::

        async with Keisei(Settings.load("configs/quickstart.toml")) as keisei:
            async for event in keisei.events(topics={"metrics"}):
                if isinstance(event, Iteration):  # else Reset (some events were lost) or Failed
                    print(event.step, event.values["train/kl"])

    Use each instance on one event loop only. An instance changes no process-wide state, and several
    instances can be open at the same time. If the run can't start, entering the block raises an
    error of ``keisei.store``, DeviceError, NetError, SettingsError or OSError. If training fails
    later, the block goes on, and ``events()`` yields Failed and ends. Leaving the block then raises
    TrainingFailed, unless the block itself raised an exception.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        run: Path | None = None,
        resume: Resume = False,
        init: str | Path | None = None,
        keep_serving: bool = False,
        sinks: Sequence[Sink] = (),
        callbacks: Sequence[Callback] = (),
        leave_compile: bool = False,
        _learner: Callable[[Settings], Any] | None = None,
    ) -> None:
        """Store the arguments. The run starts when the block is entered.

        Args:
            settings: the settings of the run.
            run: directory of the run. None means a directory in the settings' ``run.root``: the
                newest run that has a checkpoint if ``resume`` is set, else a new directory.
            resume: whether to continue an existing run. ``"auto"`` continues the run if it exists,
                else creates it. A run without a checkpoint then begins again at step 0.
            init: run or checkpoint from which a new run takes its first weights; ``"shipped"`` is
                the network in the package.
            keep_serving: whether to serve evaluations and move requests after training, until
                ``stop`` is called.
            sinks: objects that receive all events, beside the sinks that the settings name.
            callbacks: objects whose hooks are called, beside the callbacks that the settings name.
            leave_compile: whether a stop may abandon a device thread that is still compiling (see
                ``left_behind``). Set this only in programs that exit after the stop.
            _learner: function that returns a substitute for the real learner, for tests and
                benchmarks.
        """
        self.settings = settings
        """The given settings; after the run has been opened, the settings of the run."""
        self._request = RunRequest(settings, run, resume, init, keep_serving, _learner)
        self._sinks, self._callbacks = tuple(sinks), tuple(callbacks)
        self._leave_compile = leave_compile
        self._mailbox = Mailbox()
        self._run_task: asyncio.Task[None] | None = None
        self._life: RunLife | None = None
        self._left = False
        self._problem: Exception | None = None
        self._stopping = asyncio.Event()
        self._opened = asyncio.Event()
        self._closed = asyncio.Event()

    # ------------------------------------------------------------------ life
    async def start(self) -> Self:
        """Start the run and return this instance, for programs that do not use ``async with``.

        ``aclose`` can be called from another task, for example in another cell of a notebook or at
        the end of a test fixture.
        """
        if self._run_task:
            raise NotRunning("a Keisei can be started only once: make a new Keisei")
        self._run_task = asyncio.create_task(self._run(), name="keisei")
        try:
            await self._opened.wait()
        except BaseException:
            await self._leave()
            raise
        if self._problem is not None:
            await self._leave()
            raise self._problem
        return self

    async def aclose(self) -> None:
        """Stop the run and wait for its end. Later calls do nothing.

        The first call raises TrainingFailed if training failed.
        """
        if self._run_task and not self._left:
            await self._leave()
            if self._life and self._life.outcome.kind == "failed":
                raise TrainingFailed(self._life.outcome.error, self._life.outcome.traceback)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        try:
            await self.aclose()
        except TrainingFailed:
            if kind is None:  # otherwise Python raises the exception of the block
                raise

    def __del__(self) -> None:
        if getattr(self, "_life", None) and not self._left:
            warnings.warn(
                f"{self!r} was not closed: call aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    async def _leave(self) -> None:
        """Stop the run and wait until it has ended, even if this task is cancelled meanwhile."""
        self.stop()
        cancelled: asyncio.CancelledError | None = None
        while not self._closed.is_set():
            try:
                with CancelScope(shield=True):
                    await self._closed.wait()
            except asyncio.CancelledError as error:  # `Task.cancel` ignores anyio's shield
                cancelled = error
        self._left = True
        if cancelled:
            raise cancelled

    async def _run(self) -> None:
        """Open the run, train, and close it.

        The run has a separate, shielded task, so that its parts are closed in the right order even
        if the host's block is cancelled. The task belongs to no task group of the host, because
        only the task that entered a task group can leave the group.
        """
        with CancelScope(shield=True):
            try:
                await self._open()
            except Exception as problem:  # noqa: BLE001 (`start` raises it)
                self._problem = problem
            else:
                self._opened.set()
                await self._entered.live()
            finally:
                for event in (self._opened, self._stopping, self._closed):
                    event.set()

    async def _open(self) -> None:
        # `_open_run` needs a thread: importing torch may take seconds, and opening files blocks.
        plan = await to_thread.run_sync(_open_run, self._request)
        from keisei.runtime.life import RunLife
        from keisei.sinks.registry import build_extensions

        self.run = plan.run
        self.settings = plan.settings
        life = RunLife(
            plan,
            self._mailbox,
            self._sinks,
            self._callbacks,
            self._stopping,
            leave_compile=self._leave_compile,
        )
        info = RunInfo(plan.run.id, plan.run.path, plan.settings, plan.start.step, life.alert)
        # `build_extensions` needs a thread: importing the packages of plugins may take seconds.
        life.extend(await to_thread.run_sync(build_extensions, info))
        self._life = life

    # ------------------------------------------------------------------ control
    def submit(self, name: CommandName) -> Command:
        """Put a command into the queue and return the command.

        ``await command.finished`` gives the result. Raises InboxFull, NotRunning, KeyError.
        """
        self._check_entered()
        command = COMMANDS[name]()
        self._mailbox.send(command)
        return command

    async def pause(self) -> None:
        """Pause training; evaluations go on. Raises InboxFull, NotRunning."""
        await self.submit("pause").finished

    async def resume(self) -> None:
        """Continue training after a pause. Raises InboxFull, NotRunning."""
        await self.submit("resume").finished

    async def checkpoint(self) -> Path:
        """Save a checkpoint after the iteration in progress; return the checkpoint's folder.

        Raises InboxFull, NotRunning, OSError, and NotFiniteError for NaN or infinity.
        """
        path: Path = await self.submit("checkpoint").finished
        return path

    async def show(self, game: int | Literal["longest", "newest"]) -> int:
        """Choose the self-play game that ``board`` events show; return the game's number.

        When the game ends, the events show another game. Raises LookupError if no game with this
        number is in progress, InboxFull, NotRunning.
        """
        self._check_entered()
        command = Show(game)
        self._mailbox.send(command)
        number: int = await command.finished
        return number

    def stop(self) -> None:
        """Ask the run to end. Later calls do nothing. ``wait`` returns when the run has ended."""
        self._mailbox.request_stop()
        self._stopping.set()

    async def stopping(self) -> None:
        """Wait until a stop is requested, or until the run has ended by itself."""
        await self._stopping.wait()

    async def wait(self) -> "RunOutcome":
        """Wait until the run has ended and passed on all its events; return how it ended."""
        life = self._entered
        await self._closed.wait()
        return life.outcome

    @property
    def left_behind(self) -> bool:
        """Whether the run abandoned a thread that was still compiling, or writing for a sink."""
        return self._life is not None and self._life.left_behind

    def alert(self, name: str, level: Level, message: str) -> None:
        """Send an alert, as the run's own detectors do. Any thread can call this method."""
        self._entered.alert(name, level, message)

    def log(self, name: str, level: Level, message: str) -> None:
        """Send a log line to the readers of events. Any thread can call this method.

        The line can be dropped if too many events wait.
        """
        self._entered.log(name, level, message)

    # ------------------------------------------------------------------ watching
    def events(self, topics: Collection[Topic] | None = None) -> AsyncGenerator[Event, None]:
        """Yield events from now to the end of the run. A Reset event reports a loss of events."""
        return self._entered.readers.read(TOPICS if topics is None else topics)

    @property
    def hub(self) -> Hub:
        """Hub that encodes the run's events as server-sent events."""
        return self._entered.hub

    def status(self) -> StatusReport:
        """Return the current state of the run."""
        return self._entered.status()

    @property
    def telemetry(self) -> Telemetry:
        """Counts and distributions since this process opened the run, for ``/metrics``."""
        return self._entered.telemetry

    def history(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return statuses and alerts, newest first. Blocks.

        Events that are not in the database come first and have no id. If
        ``after`` is given, only events in the database are returned.
        """
        from keisei.store import DatabaseError

        recent = [] if after is not None else list(self._entered.recent)
        try:
            kept = self.reader.events(limit, after)
        except DatabaseError:
            if not recent:
                raise
            kept = []  # one of the recent alerts reports this failure
        newest = kept[0]["time"] if kept else 0.0
        unkept = [event for event in recent if event.time > newest]
        return [*({**event.to_dict(), "topic": event.topic} for event in unkept), *kept]

    @property
    def reader(self) -> "RunReader":
        """Reader of the run's stored data. Its queries block, so call them in a thread."""
        from keisei.store import RunReader

        self._check_entered()
        return RunReader(self.run.path)

    # ------------------------------------------------------------------ evaluation and play
    async def evaluate(self, spec: "EvaluationSpec", key: str | None = None) -> EvaluationHandle:
        """Start an evaluation beside training; ``current`` plays with a copy of the weights.

        If ``key`` was used before, return the handle of the earlier evaluation. Raises InboxFull,
        NotRunning, KeyReused.
        """
        record = await self._entered.evaluations.start(spec, key)
        return EvaluationHandle(record)

    @property
    def evaluation_records(self) -> EvaluationRecords:
        """Records of the run's evaluations. Methods such as ``evaluations`` read these."""
        return self._entered.records

    async def best_move(
        self,
        sfen: str,
        *,
        model: str = "current",
        greedy: bool = True,
        temperature: float = 1.0,
        mates: Mates = 1,
        simulations: int = 0,
        seconds: float | None = None,
    ) -> str | None:
        """Return the current network's move in USI notation, or None if no move is legal.

        ``"win"`` means that the player to move declares a win. ``choose_move`` describes the other
        arguments. Raises SfenError, InboxFull, NotRunning.
        """
        self._check_entered()
        position = await to_thread.run_sync(Position, sfen)  # the first call compiles the rules
        chosen = await self.choose_move(
            position,
            model=model,
            greedy=greedy,
            temperature=temperature,
            mates=mates,
            simulations=simulations,
            seconds=seconds,
        )
        return chosen.usi

    async def choose_move(
        self,
        position: Position,
        *,
        model: str = "current",
        greedy: bool = True,
        temperature: float = 1.0,
        mates: Mates = 1,
        simulations: int = 0,
        seconds: float | None = None,
    ) -> ChosenMove:
        """Return the answer of a network to a position. Raises InboxFull, NotRunning.

        With ``simulations`` or ``seconds``, a tree search chooses the move. The search takes turns
        with training, within ``evaluation.share``, and training may change the network meanwhile.

        Args:
            position: the position.
            model: ``current`` (the network in training), ``best``, ``shipped``, or the path of a
                run or checkpoint. Up to four networks stay loaded until they have been idle for
                five minutes. A network that can't be loaded raises MemoryError, CheckpointError,
                RunError or DeviceError.
            greedy: True: the most probable move; False: a move at random by the network's policy.
            temperature: temperature of the random choice, if ``greedy`` is False.
            mates: longest forced mate, in moves of both sides, that is searched: 0 (no search), 1
                or 3. If the search finds a mate, the answer is its first move.
            simulations: number of simulations of the tree search; 0: none, or as many as
                ``seconds`` allow.
            seconds: time for the tree search; None: no limit.
        """
        guests = self._entered.guests
        request = MoveRequest(position, greedy, mates, temperature)
        if model == "current":
            chosen = await self._ask(request, simulations, seconds)
            return replace(chosen, player=f"{self.run.id}@{self.status().step}")
        source = await to_thread.run_sync(self._source, model)
        async with guests.network(source) as network:
            request = replace(request, network=network.id, max_ply=network.max_ply)
            chosen = await self._ask(request, simulations, seconds)
            return replace(chosen, player=network.name)

    async def keep_game(self, game: "MatchGame", person: str) -> int:
        """Store a game that the person named ``person`` played, and return its number.

        Such games are never used for training or ratings. Raises DatabaseError.
        """
        from keisei.store import MatchTable

        def keep() -> int:
            with closing(MatchTable(self.run.path)) as table:
                return table.add_played(game, person)

        self._check_entered()
        return await to_thread.run_sync(keep)

    # ------------------------------------------------------------------ inside
    async def _ask(
        self, request: MoveRequest, simulations: int, seconds: float | None
    ) -> ChosenMove:
        """Have the device thread choose a move, with a search if it is limited by an argument."""
        if simulations or seconds:
            planted = await to_thread.run_sync(self._plant, request, simulations)
            if isinstance(planted, ChosenMove):
                return planted
            deadline = math.inf if seconds is None else time.monotonic() + seconds
            request = replace(request, search=planted, deadline=deadline)
        self._mailbox.send(request)
        return await request.answer

    def _plant(self, request: MoveRequest, simulations: int) -> "ChosenMove | Search":
        """Return a search for the position, or the answer if none is needed. Blocks."""
        from keisei.play.thinking import forced_move, plant
        from keisei.search import warm_up

        warm_up()  # the device thread must not compile, because training would wait
        env, position = self.settings.env, request.position
        return forced_move(position, env.declaration, request.mates) or plant(
            position,
            trained_max_ply=request.max_ply or env.max_ply,
            declaration=env.declaration,
            mates=request.mates,
            simulations=simulations,
        )

    def _source(self, model: str) -> str:
        """Return the path of ``model``, or ``shipped``. Blocks. Raises CheckpointError."""
        from keisei.store import CheckpointError

        if model != "best":
            return model
        best = self.run.best_checkpoint
        if best is None:
            raise CheckpointError("the run has no best network: no sequential test accepted one")
        return str(best)

    @property
    def _entered(self) -> "RunLife":
        """The open run. Raises NotRunning if the run has not been opened."""
        if self._life is None:
            raise NotRunning("the run is not open: use `async with`")
        return self._life

    def _check_entered(self) -> None:
        _ = self._entered


def _open_run(request: RunRequest) -> RunPlan:
    import keisei.runtime.life  # noqa: F401 (loads torch here, in a thread)
    from keisei.runtime.prepare import open_run

    return open_run(request)
