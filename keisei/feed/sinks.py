"""Where events go besides the clients: the database, and whatever the program adds."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import anyio
import structlog
from anyio import CapacityLimiter, to_thread

from keisei.errors import OutboxOverflow
from keisei.events import Alert, Board, Event, Iteration, Log, Status
from keisei.feed.outbox import KEPT, Outbox
from keisei.feed.supervise import Losses, Report, supervise
from keisei.log import RUN_LOGGER

RETRY_SECONDS = 30.0
"""Between tries of a database that failed too often in a row."""


class Sink(Protocol):
    """Takes a run's events. Slow is allowed; raising is an alert, and it is tried again.

    Events are told apart by their class (``isinstance(event, keisei.Iteration)``), by
    ``event.topic`` (``metrics``) or by ``event.event``, their name on the stream (``iteration``; of
    a ``Status`` its kind, as ``paused``). ``event.to_dict()`` is their JSON and holds that name.
    """

    @property
    def name(self) -> str:
        """For alerts."""

    async def write(self, events: Sequence[Event]) -> None:
        """Take events, in order."""

    async def close(self) -> None:
        """The run is over and everything has been written."""


class _Store(Protocol):
    def append(self, events: Sequence[Event]) -> Sequence[str]: ...
    def close(self) -> None: ...


class DatabaseSink:
    """Writes events to the run's database, in a thread of its own."""

    name = "database"

    def __init__(self, database: _Store, report: Report) -> None:
        """``report`` tells people of the first event that could not be written."""
        self._database = database
        self._report = report
        self._limiter = CapacityLimiter(1)
        self.unfit = 0
        """Events that the database could not hold."""

    async def write(self, events: Sequence[Event]) -> None:
        """One transaction. Boards and log lines are not kept."""
        kept = [event for event in events if not isinstance(event, Board | Log)]
        if not kept:
            return
        unfit = await self._call(partial(self._database.append, kept))
        if unfit and not self.unfit:
            self._report("database", "error", f"{unfit[0]}; what can't be written is left out")
        self.unfit += len(unfit)

    async def close(self) -> None:
        """Commit and close."""
        await self._call(self._database.close)

    async def _call(self, function: Callable[[], Any]) -> Any:
        return await to_thread.run_sync(function, limiter=self._limiter)


class LogSink:
    """Writes the lifecycle, metrics and alerts to the log, one line each."""

    name = "log"

    def __init__(self) -> None:
        self._log = structlog.get_logger(RUN_LOGGER)

    async def write(self, events: Sequence[Event]) -> None:
        """One line an event."""
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
        """Nothing is held."""


class Feed:
    """A sink and what waits for it, so that the slowest sink holds up nobody."""

    def __init__(self, sink: Sink, *, kept: int = KEPT) -> None:
        """``kept``: events that may wait for the sink and must not be lost; see ``Outbox``."""
        self.sink = sink
        self.name = f"sink {sink.name}"
        """For alerts."""
        self._written = 0
        self._box = Outbox(kept=kept)
        self._batch: list[Event] = []
        self._closing = anyio.Event()
        self._full = False

    @property
    def dropped(self) -> int:
        """Events that found no room, or that the sink could not hold."""
        unfit = self.sink.unfit if isinstance(self.sink, DatabaseSink) else 0
        return self._box.dropped + unfit

    def put(self, event: Event) -> bool:
        """Hand over an event; the sink's task takes it. False if it is the first without room."""
        try:
            self._box.emit(event)
        except OutboxOverflow:  # training must not wait for a sink
            self._box.dropped += 1
            first, self._full = not self._full, True
            return not first
        return True

    def close(self) -> None:
        """No more events come."""
        self._box.close()
        self._closing.set()

    async def _again(self) -> bool:
        """Wait until another try is worth it: some time, or the end. False if that has been."""
        if self._closing.is_set():
            return False
        with anyio.move_on_after(RETRY_SECONDS):
            await self._closing.wait()
        return True

    async def run(self, report: Report, losses: Losses) -> None:
        """Write until closed, whatever the sink raises; ``report`` tells people of it.

        A sink that failed too often in a row is given up, but not the database: what it does not
        get is lost, and a full disk may be cleared after hours.
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
        """Write until the feed is closed. Started again after an error, it repeats that batch."""
        while True:
            if self._batch:
                await self.sink.write(self._batch)
                self._written += 1
            self._batch = await self._box.drain()
            if not self._batch:
                break
        await self.sink.close()
