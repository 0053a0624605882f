"""``Keisei``: a run inside anybody's event loop."""

import asyncio
import logging
import time
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.lowlevel
from anyio import CancelScope, CapacityLimiter, create_task_group, to_thread

from keisei.config import Settings
from keisei.errors import NotRunning, TrainingFailed
from keisei.events import TOPICS, Alert, Event, Iteration, Level, Log, Reset, Status, Topic
from keisei.feed.hub import Hub
from keisei.feed.outbox import Outbox
from keisei.feed.readers import Readers
from keisei.feed.sinks import DatabaseSink, Feed, Sink
from keisei.feed.supervise import Heartbeat, Losses, supervise, watch
from keisei.play.mailbox import Command, Mailbox, Question
from keisei.runtime.book import Book, EvaluationHandle
from keisei.runtime.status import Notes, StatusReport

if TYPE_CHECKING:
    from keisei.evaluation.spec import EvaluationSpec
    from keisei.runtime.evaluations import Evaluations
    from keisei.runtime.prepare import Opened
    from keisei.runtime.worker import Outcome
    from keisei.store import RunReader

CLOSE_SECONDS = 15.0
"""How long sinks may take to write what is left."""
RECENT = 100
"""Statuses and alerts that are remembered, in case the database does not take them."""
COMPILE_SECONDS = 3.0
"""How long a stop waits for a compile, where it need not be waited for."""

_log = logging.getLogger(__name__)


class Keisei:
    """Trains while its block is open; leaving the block stops it.

    ::

        async with Keisei(Settings.load("configs/quickstart.toml")) as keisei:
            async for event in keisei.events(topics={"metrics"}):
                if isinstance(event, Iteration):  # else Reset (you were too slow) or Failed
                    print(event.step, event.values["train/kl"])

    Everything belongs on the loop of the block, nothing process-wide is touched, and several may
    be open at once. Entering raises what keeps a run from starting (``keisei.store``'s errors,
    ``DeviceError``, OSError). If training fails later, the block goes on: ``events()`` yields
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
        """``run``: the run's directory (a new one in ``run.root`` if None); with ``resume`` it, or
        the newest in ``run.root``, is continued. ``init``: a checkpoint to start the weights from.

        ``keep_serving``: after the end of training, evaluations and moves are still answered, until
        ``stop``. ``sinks`` get all events. ``leave_compile``: a stop while the run compiles does not
        wait for that but leaves the thread behind (``left_behind``); for programs that exit then.
        ``_learner``, for tests and a benchmark, makes the learner.
        """
        self.settings = settings
        self._open = partial(
            _open_run, run=run, resume=resume, init=init, keep_serving=keep_serving, build=_learner
        )
        self._keep_serving = keep_serving
        self._sinks = tuple(sinks)
        self._leave_compile = leave_compile
        self.left_behind = False
        """Whether the device thread still compiles though the run has ended."""
        self._mailbox = Mailbox()
        self._book = Book()
        self._losses = Losses()
        self._recent: deque[Event] = deque(maxlen=RECENT)
        self._run_task: asyncio.Task[None] | None = None
        self._entered = self._left = False
        self._problem: Exception | None = None
        self._outcome: Outcome
        self._stopping = asyncio.Event()
        self._opened = asyncio.Event()
        self._closed = asyncio.Event()

    # ------------------------------------------------------------------ life
    async def start(self) -> Self:
        """Open the run, as entering the block does. ``aclose`` may be called from another task:
        in another cell of a notebook, or where a fixture of tests ends.
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
        """Stop the run and wait for its end; again if you like. Raises TrainingFailed, once."""
        if self._run_task and not self._left:
            await self._leave()
            if self._outcome.kind == "failed":
                raise TrainingFailed(self._outcome.error, self._outcome.traceback)

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
            if kind is None:  # else the block's own exception tells
                raise

    def __del__(self) -> None:
        if getattr(self, "_entered", False) and not self._left:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)

    async def _leave(self) -> None:
        self.stop()
        with CancelScope(shield=True):
            await self._closed.wait()
        self._left = True

    async def _run(self) -> None:
        """All that runs on the loop, from opening the files to closing them.

        A task of its own, and shielded: whatever becomes of the host's block, the run ends in its
        own order, downstream from the worker. No task group of the host's holds it: such a group
        can be left only by the task that entered it.
        """
        with CancelScope(shield=True):
            try:
                await self._prepare()
            except Exception as problem:  # noqa: BLE001 (`__aenter__` raises it)
                self._problem = problem
            else:
                self._entered = True
                self._opened.set()
                await self._train()
            finally:
                for event in (self._opened, self._stopping, self._closed):
                    event.set()

    async def _prepare(self) -> None:
        # In a thread: this imports torch, takes seconds when cold, and touches the disk.
        prepared, start = await to_thread.run_sync(self._open, self.settings)
        self.run = prepared.run
        self.settings = prepared.settings
        self._database = prepared.database
        self._notes = Notes(self.run.id, self.settings, prepared.start)
        interrupted = self._book.restore(prepared.evaluations)
        self._outbox = Outbox()
        self.hub = Hub(self._notes.status)
        self._readers = Readers(self._reset)
        self._heartbeat = Heartbeat()
        self._worker = start(self._mailbox, self._outbox)
        self._evaluations = _evaluations(
            self.run,
            prepared.start.step,
            self._mailbox,
            self._book,
            self._emit,
            interrupted,
        )
        database = DatabaseSink(self._database, self.alert)
        self._feeds = [Feed(sink) for sink in (database, *self._sinks)]
        for remark in prepared.remarks:
            self.alert("start", "warning", remark)

    async def _train(self) -> None:
        try:
            async with create_task_group() as beside:
                for name, run in (
                    ("stream", self.hub.run),
                    ("heartbeat", self._heartbeat.run),
                    ("watchdog", partial(watch, lambda: self._worker.beat, self.alert)),
                ):
                    supervised = partial(supervise, name, run, self.alert, losses=self._losses)
                    beside.start_soon(supervised)
                try:
                    await self._flow()
                except Exception as crash:  # noqa: BLE001 (the host's block must not be cancelled)
                    await self._crashed(crash)
                beside.cancel_scope.cancel()
        finally:
            for close in (self._book.close, self.hub.close, self._readers.close):
                with _logged():
                    close()
            for release in (self._database.close, self.run.close):
                with _logged():
                    await to_thread.run_sync(release)

    async def _crashed(self, crash: Exception) -> None:
        """The loop's own part failed: say so wherever that still works, and serve on if asked to."""
        from keisei.runtime.worker import failure

        _log.error("the run failed", exc_info=crash)
        failed, self._outcome = failure(crash, self._notes.run, self._notes.step)
        for take in (
            self._notes.take,
            self._readers.publish,
            self.hub.publish,
            self._recent.appendleft,
        ):
            take(failed)
        if self._keep_serving:
            await self._stopping.wait()

    async def _flow(self) -> None:
        async with create_task_group() as group:
            for feed in self._feeds:
                group.start_soon(feed.run, self.alert, self._losses)
            group.start_soon(self._host)
            try:
                await self._pump()
            finally:
                self._mailbox.request_stop()  # after a crash, too, the worker ends in its own order
            group.cancel_scope.deadline = anyio.current_time() + CLOSE_SECONDS

    async def _host(self) -> None:
        """Live as long as the device thread; then, if asked to, until ``stop``."""
        try:
            await self._evaluations.host(self._work)
        finally:
            self._outbox.close()

    async def _work(self) -> None:
        async with create_task_group() as group:
            group.cancel_scope.shield = True  # only a compile is ever left behind
            if self._leave_compile:
                group.start_soon(self._leave_if_compiling, group.cancel_scope)
            self._outcome = await to_thread.run_sync(
                self._worker.main,
                limiter=CapacityLimiter(1),
                abandon_on_cancel=self._leave_compile,
            )
            group.cancel_scope.cancel()
        if self._keep_serving:
            await self._stopping.wait()

    async def _leave_if_compiling(self, work: CancelScope) -> None:
        """End the wait for a thread that compiles: nothing can interrupt that, nothing is lost."""
        from keisei.runtime.worker import Outcome

        await self._stopping.wait()
        await anyio.sleep(COMPILE_SECONDS)
        if self._worker.beat[0] in {"start", "compile"}:
            self.left_behind, self._outcome = True, Outcome("stopped")
            self._emit(Status, kind="stopped", state="stopped", message="while compiling")
            work.cancel()

    async def _pump(self) -> None:
        """Hand every event on, until the outbox ends."""
        while events := await self._outbox.drain():
            for event in events:
                self._hand_on(event)
                await anyio.lowlevel.checkpoint()
        for feed in self._feeds:
            feed.close()

    def _hand_on(self, event: Event) -> None:
        if isinstance(event, Iteration):
            values = event.values | self._evaluations.values | self._loop_values()
            event = replace(event, values=values)
            self._evaluations.note(event.step)
        if isinstance(event, Status | Alert):
            self._recent.appendleft(event)
        self._book.note(event)
        self._notes.take(event)
        self.hub.publish(event)
        self._readers.publish(event)
        for feed in self._feeds:
            if not feed.put(event):
                text = "it takes no events: from now on it misses some"
                self.alert(feed.name, "error", text)
                self._losses.add(feed.name, text)

    # ------------------------------------------------------------------ control
    def submit(self, kind: Any, payload: Any = None) -> Command:
        """Queue a command; returning means accepted, ``await command.finished`` waits for its end.

        Raises InboxFull, NotRunning.
        """
        self._check_entered()
        command = Command(kind, payload)
        self._mailbox.send(command)
        return command

    async def pause(self) -> None:
        """Stop training turns; evaluations and moves go on. Raises InboxFull, NotRunning."""
        await self.submit("pause").finished

    async def resume(self) -> None:
        """Go on training. Raises InboxFull, NotRunning."""
        await self.submit("resume").finished

    async def checkpoint(self) -> Path:
        """Save at the end of the iteration in progress.

        Raises InboxFull, NotRunning, OSError; NotFiniteError where training has gone wrong.
        """
        path: Path = await self.submit("checkpoint").finished
        return path

    def stop(self) -> None:
        """Ask the run to end; again if you like. ``wait`` tells when it has."""
        self._mailbox.request_stop()
        self._stopping.set()

    async def stopping(self) -> None:
        """Return when the run has been asked to end, by whomever, or has ended."""
        await self._stopping.wait()

    async def wait(self) -> "Outcome":
        """Return when the run has ended and everybody has been told, with how it ended."""
        self._check_entered()
        await self._closed.wait()
        return self._outcome

    def alert(self, name: str, level: Level, message: str) -> None:
        """Tell people of something, as the run's own detectors do. From any thread."""
        self._tell(Alert, name, level, message)

    def log(self, name: str, level: Level, message: str) -> None:
        """Show a log line to who watches the run; under load it may be dropped. From any thread."""
        self._tell(Log, name, level, message)

    # ------------------------------------------------------------------ watching
    def events(self, topics: Collection[Topic] | None = None) -> AsyncGenerator[Event, None]:
        """Events from now on; ends with the run. Reset tells a slow reader that it missed some."""
        self._check_entered()
        return self._readers.read(TOPICS if topics is None else topics)

    @asynccontextmanager
    async def subscribe(
        self, topics: Collection[Topic], after: str | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Encoded server-sent events; see ``Hub.subscribe``."""
        self._check_entered()
        with self.hub.subscribe(topics, after) as chunks:
            async with aclosing(chunks):
                yield chunks

    def dismiss(self) -> None:
        """End the streams of ``subscribe`` that are open, with ``bye``; the run goes on."""
        self.hub.dismiss()

    def status(self) -> StatusReport:
        """What the run is doing now."""
        self._check_entered()
        phase, since = self._worker.beat
        return self._notes.report(
            stopping=self._mailbox.stop_requested,
            elapsed=self._worker.elapsed,
            phase=phase,
            beat_age=time.monotonic() - since,
            clients=self.hub.clients,
            dropped=self._dropped,
            degraded=self._losses.now(),
        )

    def history(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Statuses and alerts, newest first. Blocking.

        Those that the database does not have come first, without an id, unless ``after`` is given.
        """
        from keisei.store import DatabaseError

        recent = [] if after is not None else list(self._recent)
        try:
            kept = self.reader.events(limit, after)
        except DatabaseError:
            if not recent:
                raise
            kept = []  # an alert among the recent ones tells of the failure
        newest = kept[0]["time"] if kept else 0.0
        unkept = [event for event in recent if event.time > newest]
        return [*({**event.to_dict(), "topic": event.topic} for event in unkept), *kept]

    @property
    def reader(self) -> "RunReader":
        """What is kept of the run. Its queries block: ask in a thread."""
        from keisei.store import RunReader

        self._check_entered()
        return RunReader(self.run.path)

    # ------------------------------------------------------------------ evaluation and play
    async def evaluate(self, spec: "EvaluationSpec", key: str | None = None) -> EvaluationHandle:
        """Start an evaluation, played beside training; ``current`` is a copy of today's weights.

        The same ``key`` again gives the same evaluation. Raises InboxFull, NotRunning, KeyReused.
        """
        self._check_entered()
        return EvaluationHandle(await self._evaluations.start(spec, key), self.cancel_evaluation)

    def evaluations(self) -> list[dict[str, Any]]:
        """All evaluations of the run, newest first."""
        return self._book.list()

    def evaluation(self, id: str) -> dict[str, Any] | None:
        """One of them."""
        record = self._book.get(id)
        return dict(record.fields) if record else None

    def follow_evaluation(self, id: str) -> AsyncGenerator[dict[str, Any], None]:
        """How it stands now and after each change, to its end. Raises KeyError."""
        record = self._book.get(id)
        if record is None:
            raise KeyError(id)
        return record.follow()

    def cancel_evaluation(self, id: str) -> None:
        """End it early; nothing happens if it has ended. Raises KeyError."""
        self._evaluations.cancel(id)

    async def best_move(self, sfen: str, *, greedy: bool = True) -> str | None:
        """The current network's move (USI), ``"win"`` to declare, None if there is no move.

        Raises SfenError, InboxFull, NotRunning.
        """
        self._check_entered()
        question = Question(sfen, greedy)
        self._mailbox.send(question)
        return await question.answer

    # ------------------------------------------------------------------ inside
    def _check_entered(self) -> None:
        if not self._entered:
            raise NotRunning("the run is not open: use `async with`")

    def _tell(self, kind: type[Alert] | type[Log], name: str, level: Level, message: str) -> None:
        self._emit(kind, name=name, level=level, message=message)

    def _emit(self, kind: type[Event], /, **fields: Any) -> None:
        notes = self._notes
        event = kind(run=notes.run, step=notes.step, time=time.time(), **fields)
        self._outbox.emit(event, always=True)

    @property
    def _dropped(self) -> int:
        return self._outbox.dropped + sum(feed.dropped for feed in self._feeds)

    def _loop_values(self) -> dict[str, float]:
        return {
            "system/loop_lag_ms": self._heartbeat.take() * 1000,
            "system/clients": float(self.hub.clients),
            "system/dropped": float(self._dropped),
        }

    def _reset(self) -> Reset:
        now = self._notes.status("reset")
        return Reset(run=now.run, step=now.step, time=now.time, state=now.state)


@contextmanager
def _logged() -> Iterator[None]:
    """Within the block an exception is logged, so that what is closed next is closed too."""
    try:
        yield
    except Exception:  # noqa: BLE001 (the run's outcome stands, whatever fails to close)
        _log.exception("closing the run failed")


def _evaluations(*arguments: Any) -> "Evaluations":
    from keisei.runtime.evaluations import Evaluations

    return Evaluations(*arguments)


def _open_run(settings: Settings, **arguments: Any) -> "Opened":
    from keisei.runtime.prepare import open_run

    return open_run(settings, **arguments)
