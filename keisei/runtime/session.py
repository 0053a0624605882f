"""``Keisei``: a run inside the event loop of any program."""

import asyncio
import warnings
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anyio import CancelScope, to_thread

from keisei.config import Settings
from keisei.errors import NotRunning, TrainingFailed
from keisei.events import TOPICS, Event, Level, Topic
from keisei.feed.hub import Hub
from keisei.feed.sinks import Sink
from keisei.play.mailbox import Command, Mailbox, MoveRequest
from keisei.runtime.commands import COMMANDS, CommandName
from keisei.runtime.evaluation_records import EvaluationHandle, EvaluationMethods, EvaluationRecords
from keisei.runtime.plan import RunPlan, RunRequest
from keisei.runtime.status import StatusReport

if TYPE_CHECKING:
    from keisei.evaluation.spec import EvaluationSpec
    from keisei.runtime.life import RunLife
    from keisei.runtime.worker import RunOutcome
    from keisei.store import RunReader


class Keisei(EvaluationMethods):
    """Trains while its block is open; leaving the block stops it.

    ::

        async with Keisei(Settings.load("configs/quickstart.toml")) as keisei:
            async for event in keisei.events(topics={"metrics"}):
                if isinstance(event, Iteration):  # else Reset (you were too slow) or Failed
                    print(event.step, event.values["train/kl"])

    Use it on one event loop. It changes nothing process-wide, and several may be open at once.
    Entering the block raises what keeps the run from starting (the errors of ``keisei.store``,
    ``DeviceError``, OSError). If training fails later, the block goes on, ``events()`` yields
    Failed and ends, and leaving the block raises TrainingFailed unless the block itself raised.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        run: Path | None = None,
        resume: bool = False,
        init: Path | None = None,
        keep_serving: bool = False,
        sinks: Sequence[Sink] = (),
        leave_compile: bool = False,
        _learner: Callable[[Settings], Any] | None = None,
    ) -> None:
        """Prepare a run; nothing happens before it is entered.

        Args:
            settings: the settings of the run.
            run: its directory; None makes a new one in ``run.root``, or with ``resume`` takes the
                newest one there.
            resume: whether to continue the run in that directory.
            init: a checkpoint whose weights a new run starts from.
            keep_serving: whether to answer evaluations and moves after the end of training, until
                ``stop``.
            sinks: get all events.
            leave_compile: whether a stop leaves the device thread behind while it compiles, instead
                of waiting (see ``left_behind``). For programs that exit then.
            _learner: makes another learner, for tests and benchmarks.
        """
        self.settings = settings
        """Settings in use; once entered, those of the run."""
        self._request = RunRequest(settings, run, resume, init, keep_serving, _learner)
        self._sinks = tuple(sinks)
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
        """Open the run, as entering the block does.

        ``aclose`` may be called from another task: in another cell of a notebook, or where a test
        fixture ends.
        """
        if self._run_task:
            raise NotRunning("a Keisei can be entered only once")
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
        """Stop the run and wait for its end. May be called again. Raises TrainingFailed, once."""
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
            if kind is None:  # else the block's own exception is raised
                raise

    def __del__(self) -> None:
        if getattr(self, "_life", None) and not self._left:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)

    async def _leave(self) -> None:
        self.stop()
        with CancelScope(shield=True):
            await self._closed.wait()
        self._left = True

    async def _run(self) -> None:
        """Open the run, let it live, close it.

        This is a task of its own, and shielded: whatever happens to the host's block, the run ends
        in its own order. It is not in a task group of the host, because only the task that entered
        a group can leave it.
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
        # In a thread: this imports torch, takes seconds when cold, and touches the disk.
        plan = await to_thread.run_sync(_open_run, self._request)
        from keisei.runtime.life import RunLife

        self.run = plan.run
        self.settings = plan.settings
        self._life = RunLife(
            plan, self._mailbox, self._sinks, self._stopping, leave_compile=self._leave_compile
        )

    # ------------------------------------------------------------------ control
    def submit(self, name: CommandName) -> Command:
        """Queue a command. Returning means accepted; ``await command.finished`` waits for its end.

        Raises InboxFull, NotRunning, KeyError.
        """
        self._check_entered()
        command = COMMANDS[name]()
        self._mailbox.send(command)
        return command

    async def pause(self) -> None:
        """Stop training turns; evaluations and moves go on. Raises InboxFull, NotRunning."""
        await self.submit("pause").finished

    async def resume(self) -> None:
        """Go on training. Raises InboxFull, NotRunning."""
        await self.submit("resume").finished

    async def checkpoint(self) -> Path:
        """Save at the end of the iteration in progress; return the checkpoint's folder.

        Raises InboxFull, NotRunning, OSError; NotFiniteError where training has gone wrong.
        """
        path: Path = await self.submit("checkpoint").finished
        return path

    def stop(self) -> None:
        """Ask the run to end. May be called again. ``wait`` waits for the end."""
        self._mailbox.request_stop()
        self._stopping.set()

    async def stopping(self) -> None:
        """Wait until anyone asks the run to end, or until it has ended."""
        await self._stopping.wait()

    async def wait(self) -> "RunOutcome":
        """Wait until the run has ended and all events are delivered; return how it ended."""
        life = self._entered
        await self._closed.wait()
        return life.outcome

    @property
    def left_behind(self) -> bool:
        """Whether the device thread still compiles though the run has ended."""
        return self._life is not None and self._life.left_behind

    def alert(self, name: str, level: Level, message: str) -> None:
        """Send an alert, as the run's own detectors do. From any thread."""
        self._entered.alert(name, level, message)

    def log(self, name: str, level: Level, message: str) -> None:
        """Send a log line to the readers of events. It may be dropped. From any thread."""
        self._entered.log(name, level, message)

    # ------------------------------------------------------------------ watching
    def events(self, topics: Collection[Topic] | None = None) -> AsyncGenerator[Event, None]:
        """Yield events from now to the end of the run. A reader that was too slow gets Reset."""
        return self._entered.readers.read(TOPICS if topics is None else topics)

    @property
    def hub(self) -> Hub:
        """The run's events, encoded as server-sent events."""
        return self._entered.hub

    def status(self) -> StatusReport:
        """Return what the run is doing now."""
        return self._entered.status()

    def history(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return statuses and alerts, newest first. Blocks.

        Those that the database does not have come first, without an id, unless ``after`` is given.
        """
        from keisei.store import DatabaseError

        recent = [] if after is not None else list(self._entered.recent)
        try:
            kept = self.reader.events(limit, after)
        except DatabaseError:
            if not recent:
                raise
            kept = []  # one of the recent alerts says so
        newest = kept[0]["time"] if kept else 0.0
        unkept = [event for event in recent if event.time > newest]
        return [*({**event.to_dict(), "topic": event.topic} for event in unkept), *kept]

    @property
    def reader(self) -> "RunReader":
        """The stored data of the run. Its methods block: call them in a thread."""
        from keisei.store import RunReader

        self._check_entered()
        return RunReader(self.run.path)

    # ------------------------------------------------------------------ evaluation and play
    async def evaluate(self, spec: "EvaluationSpec", key: str | None = None) -> EvaluationHandle:
        """Start an evaluation beside training; ``current`` is a copy of the present weights.

        The same ``key`` gives the same evaluation. Raises InboxFull, NotRunning, KeyReused.
        """
        record = await self._entered.evaluations.start(spec, key)
        return EvaluationHandle(record)

    @property
    def evaluation_records(self) -> EvaluationRecords:
        """The records of the run's evaluations. Users need only ``evaluations`` and its like."""
        return self._entered.records

    async def best_move(self, sfen: str, *, greedy: bool = True) -> str | None:
        """Return the current network's move (USI), ``"win"`` to declare, None if there is no move.

        Raises SfenError, InboxFull, NotRunning.
        """
        self._check_entered()
        request = MoveRequest(sfen, greedy)
        self._mailbox.send(request)
        return await request.answer

    # ------------------------------------------------------------------ inside
    @property
    def _entered(self) -> "RunLife":
        """The open run. Raises NotRunning."""
        if self._life is None:
            raise NotRunning("the run is not open: use `async with`")
        return self._life

    def _check_entered(self) -> None:
        _ = self._entered


def _open_run(request: RunRequest) -> RunPlan:
    import keisei.runtime.life  # noqa: F401 (loads torch here, in a thread)
    from keisei.runtime.prepare import open_run

    return open_run(request)
