"""Consumers of events besides clients: the database, the log, and sinks of the program."""

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
"""Time between two tries to write to a database that failed too often in a row."""


class Sink(Protocol):
    """Takes a run's events. It may be slow. If it raises, an alert is sent and it is called again.

    The kind of an event is its class (``isinstance(event, keisei.Iteration)``), its
    ``event.topic`` (``metrics``), or ``event.event``, its name on the stream (``iteration``; the
    name of a ``Status`` is its kind, such as ``paused``). ``event.to_dict()`` returns the event for
    JSON, with that name.
    """

    @property
    def name(self) -> str:
        """Name of the sink in alerts."""

    async def write(self, events: Sequence[Event]) -> None:
        """Take events, oldest first."""

    async def close(self) -> None:
        """End. Called when the run has ended and all events have been written."""


class _Store(Protocol):
    def append(self, events: Sequence[Event]) -> Sequence[str]: ...
    def close(self) -> None: ...


class DatabaseSink:
    """Writes events to the run's database, in a worker thread."""

    name = "database"

    def __init__(self, database: _Store, report: Report) -> None:
        """``report`` sends an alert for the first event that could not be written."""
        self._database = database
        self._report = report
        self._limiter = CapacityLimiter(1)
        self.unfit = 0
        """Number of events that the database could not hold."""

    async def write(self, events: Sequence[Event]) -> None:
        """Write events in one transaction, without boards and log lines."""
        kept = [event for event in events if not isinstance(event, Board | Log)]
        if not kept:
            return
        unfit = await self._call(partial(self._database.append, kept))
        if unfit and not self.unfit:
            self._report("database", "error", f"{unfit[0]}; what can't be written is left out")
        self.unfit += len(unfit)

    async def close(self) -> None:
        """Commit and close the database."""
        await self._call(self._database.close)

    async def _call(self, function: Callable[[], Any]) -> Any:
        return await to_thread.run_sync(function, limiter=self._limiter)


class LogSink:
    """Writes status, metrics and alerts to the log, one line each."""

    name = "log"

    def __init__(self) -> None:
        self._log = structlog.get_logger(RUN_LOGGER)

    async def write(self, events: Sequence[Event]) -> None:
        """Write one line for each event."""
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
        """Do nothing."""


class Feed:
    """A sink with its own queue of events: a slow sink delays neither training nor other sinks."""

    def __init__(self, sink: Sink, *, kept: int = KEPT) -> None:
        """``kept``: most events that wait for the sink and must not be dropped; see ``Outbox``."""
        self.sink = sink
        self.name = f"sink {sink.name}"
        """Name in alerts."""
        self._written = 0
        self._box = Outbox(kept=kept)
        self._batch: list[Event] = []
        self._closing = anyio.Event()
        self._full = False

    @property
    def dropped(self) -> int:
        """Number of events for which the queue had no room, or that the database could not hold."""
        unfit = self.sink.unfit if isinstance(self.sink, DatabaseSink) else 0
        return self._box.dropped + unfit

    def put(self, event: Event) -> bool:
        """Queue an event for the sink. Return False if it is the first that finds no room."""
        try:
            self._box.emit(event)
        except OutboxOverflow:  # training must not wait for a sink
            self._box.dropped += 1
            first, self._full = not self._full, True
            return not first
        return True

    def close(self) -> None:
        """End the queue: no more events come."""
        self._box.close()
        self._closing.set()

    async def _wait_for_retry(self) -> bool:
        """Wait before another try; return False if there is none, after the last try at the end."""
        if self._closing.is_set():
            return False
        with anyio.move_on_after(RETRY_SECONDS):
            await self._closing.wait()
        return True

    async def run(self, report: Report, losses: Losses) -> None:
        """Write until closed. ``report`` sends an alert for each error of the sink.

        A sink that fails too often in a row is given up, except the database: its events would be
        lost, and a full disk may have room again after hours.
        """
        await supervise(
            self.name,
            self._write,
            report,
            progress=lambda: self._written,
            again=self._wait_for_retry if isinstance(self.sink, DatabaseSink) else None,
            losses=losses,
        )

    async def _write(self) -> None:
        """Write until the feed is closed. A restart after an error writes the same batch again."""
        while True:
            if self._batch:
                await self.sink.write(self._batch)
                self._written += 1
            self._batch = await self._box.drain()
            if not self._batch:
                break
        await self.sink.close()
