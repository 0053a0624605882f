"""Sinks, which receive all events of a run: the database, the log, and sinks of the program."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import anyio
import structlog
from anyio import CapacityLimiter, to_thread

from keisei.errors import OutboxOverflow
from keisei.events import Alert, Board, Event, Iteration, Log, Status
from keisei.feed.outbox import KEPT, Outbox
from keisei.feed.stored import Stored
from keisei.feed.supervise import Losses, Report, contained, supervise
from keisei.log import RUN_LOGGER

if TYPE_CHECKING:
    from keisei.config import Settings

RETRY_SECONDS = 30.0
"""Seconds between attempts to write, after several consecutive failures of the database."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Facts about a run, for its sinks and callbacks."""

    id: str
    path: Path
    """Folder of the run."""
    settings: "Settings"
    step: int
    """Step at which this process begins: 0, or the step of a resumed run's checkpoint."""
    alert: Report
    """Sends an alert: ``alert(name, level, message)``. May be called from any thread."""


@runtime_checkable
class Sink(Protocol):
    """Receives the events of a run. A sink may be slow.

    If ``write`` raises an exception, an alert is sent, and ``write`` is called again with the same
    events. After several failures in succession, a sink other than the database gets no more
    events.

    To distinguish events, use their class (``isinstance(event, keisei.Iteration)``), their topic
    (``event.topic``, such as ``metrics``) or their name (``event.event``, such as ``iteration``).
    The name of a ``Status`` is its kind, such as ``paused``. Server-sent events use the same names.
    ``event.to_dict()`` returns a dict for JSON that contains the name.
    """

    @property
    def name(self) -> str:
        """The name that alerts use for this sink."""

    async def write(self, events: Sequence[Event]) -> None:
        """Write events, which arrive in the order in which they were sent."""

    async def close(self) -> None:
        """Release resources after the last events were written."""


class BlockingSink(ABC):
    """Base class of sinks whose code blocks: the code runs in a thread, one call at a time.

    If the code hangs when the run ends, the thread is abandoned.
    """

    name: str
    """The name that alerts use for this sink."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(1)

    @abstractmethod
    def write_blocking(self, events: Sequence[Event]) -> None:
        """Write events. They arrive in the order in which they were sent."""

    def close_blocking(self) -> None:  # noqa: B027 (a sink may have nothing to release)
        """Release resources. Called after the last events were written."""

    async def write(self, events: Sequence[Event]) -> None:
        """Call ``write_blocking`` in a thread."""
        await self._call(self.write_blocking, events)

    async def close(self) -> None:
        """Call ``close_blocking`` in a thread."""
        await self._call(self.close_blocking)

    async def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        await to_thread.run_sync(
            function, *arguments, limiter=self._limiter, abandon_on_cancel=True
        )


class _Store(Protocol):
    def append(self, events: Sequence[Event]) -> Sequence[str]: ...
    def close(self) -> None: ...


class DatabaseSink:
    """Writes events to the run's database in a separate thread."""

    name = "database"

    def __init__(self, database: _Store, report: Report, stored: Stored | None = None) -> None:
        """``report`` sends an alert about the first event that the database could not store.

        ``stored`` gets the iterations that are in the database.
        """
        self._database = database
        self._report = report
        self._stored = stored or Stored()
        self._limiter = CapacityLimiter(1)
        self.unfit = 0
        """Number of events that the database could not store."""

    async def write(self, events: Sequence[Event]) -> None:
        """Write all events except boards and log lines, in one transaction."""
        kept = [event for event in events if not isinstance(event, Board | Log)]
        if not kept:
            return
        unfit = await self._call(partial(self._append, kept))
        if unfit and not self.unfit:
            self._report("database", "error", f"{unfit[0]}; such events are not stored")
        self.unfit += len(unfit)

    def _append(self, events: Sequence[Event]) -> Sequence[str]:
        unfit = self._database.append(events)
        if iterations := [event.iteration for event in events if isinstance(event, Iteration)]:
            self._stored.reached(iterations[-1])
        return unfit

    async def close(self) -> None:
        """Commit and close the database."""
        await self._call(self._database.close)

    async def _call(self, function: Callable[[], Any]) -> Any:
        return await to_thread.run_sync(function, limiter=self._limiter)


class BoardSink(BlockingSink):
    """Writes the newest board into a small file, for ``keisei watch``.

    A failed write sends an alert. The next boards are still written.
    """

    name = "board"

    def __init__(self, write: Callable[[Board], None], report: Report) -> None:
        """``write`` replaces the file. ``report`` sends an alert about the first failed write."""
        super().__init__()
        self._write, self._report = write, report
        self.unfit = 0
        """Number of boards that could not be written."""

    def write_blocking(self, events: Sequence[Event]) -> None:
        """Write the newest board of ``events``, which contain a board."""
        newest = next(event for event in reversed(events) if isinstance(event, Board))
        try:
            self._write(newest)
        except OSError as error:
            if not self.unfit:
                self._report("board", "warning", f"keisei watch shows no new boards: {error}")
            self.unfit += 1

    async def write(self, events: Sequence[Event]) -> None:
        """Call ``write_blocking`` in a thread, unless ``events`` has no board."""
        if any(isinstance(event, Board) for event in events):
            await super().write(events)


class LogSink:
    """Writes lifecycle events, metrics and alerts to the log, one line for each event."""

    name = "log"

    def __init__(self) -> None:
        self._log = structlog.get_logger(RUN_LOGGER)

    async def write(self, events: Sequence[Event]) -> None:
        """Write one line for each lifecycle event, iteration and alert."""
        for event in events:
            log = self._log.bind(run=event.run, step=event.step)
            if isinstance(event, Iteration):
                log.info("iteration", iteration=event.iteration, **event.to_dict()["values"])
            elif isinstance(event, Alert):
                getattr(log, event.level)(event.name, message=event.message)
            elif isinstance(event, Status):
                level = log.error if event.state == "failed" else log.info
                level(event.kind, state=event.state, message=event.message)

    async def close(self) -> None:
        """Do nothing, because there is nothing to release."""


class Feed:
    """A sink with its own queue of events, so that a slow sink delays nothing else."""

    def __init__(self, sink: Sink, *, kept: int = KEPT) -> None:
        """``kept``: maximum number of waiting events that must not be dropped; see ``Outbox``."""
        self.sink = sink
        self.name = f"sink {sink.name}"
        """The name that alerts use for this sink."""
        self._written = 0
        self._box = Outbox(kept=kept)
        self._batch: list[Event] = []
        self._closing = anyio.Event()
        self._full = False

    @property
    def dropped(self) -> int:
        """Number of events that found no room in the queue or could not be written."""
        unfit = self.sink.unfit if isinstance(self.sink, DatabaseSink | BoardSink) else 0
        return self._box.dropped + unfit

    def put(self, event: Event) -> bool:
        """Add an event to the queue. Return False only for the first event that finds no room."""
        try:
            self._box.emit(event)
        except OutboxOverflow:  # training must not wait for a sink
            self._box.dropped += 1
            first, self._full = not self._full, True
            return not first
        return True

    def close(self) -> None:
        """Accept no more events."""
        self._box.close()
        self._closing.set()

    async def _again(self) -> bool:
        """Wait ``RETRY_SECONDS``, or until ``close`` is called.

        Return False at once if ``close`` was called earlier.
        """
        if self._closing.is_set():
            return False
        with anyio.move_on_after(RETRY_SECONDS):
            await self._closing.wait()
        return True

    async def run(self, report: Report, losses: Losses) -> None:
        """Write events until the feed is closed. ``report`` sends alerts about the sink's errors.

        A sink that fails several times in succession gets no more events. The database is an
        exception: it is tried again until the run ends, because a full disk can have free space
        hours later.
        """
        await supervise(
            self.name,
            self._write,
            report,
            progress=lambda: self._written,
            again=self._again if isinstance(self.sink, DatabaseSink) else None,
            losses=losses,
        )

    async def _write(self) -> None:
        """Write events until ``close``. After an error, a new call writes the same batch again."""
        while True:
            if self._batch:
                with contained():
                    await self.sink.write(self._batch)
                self._written += 1
            self._batch = await self._box.drain()
            if not self._batch:
                break
        with contained():
            await self.sink.close()
