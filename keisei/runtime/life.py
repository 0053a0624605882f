"""The tasks of a run on the event loop, from the opening of its files to their closing."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
from anyio import CancelScope, CapacityLimiter, create_task_group, to_thread

from keisei.events import Alert, Event, Iteration, Level, Log, Reset, Status
from keisei.feed.callbacks import Callback, CallbackSink
from keisei.feed.hub import Hub
from keisei.feed.outbox import Outbox
from keisei.feed.readers import Readers
from keisei.feed.sinks import BoardSink, DatabaseSink, Feed, Sink
from keisei.feed.stored import Stored
from keisei.feed.supervise import Heartbeat, Losses, supervise, tell, watch
from keisei.play.guests import Guests
from keisei.play.mailbox import Mailbox
from keisei.runtime.evaluation_records import EvaluationRecords
from keisei.runtime.evaluations import Evaluations
from keisei.runtime.plan import RunPlan
from keisei.runtime.regular import RegularEvaluations
from keisei.runtime.status import RunState, StatusReport
from keisei.runtime.telemetry import Telemetry
from keisei.runtime.worker import RunOutcome, Worker, failure
from keisei.sinks.registry import Extensions
from keisei.store.board import write_board

CLOSE_SECONDS = 15.0
"""Maximum time, in seconds, that the sinks have to write the last events when the run ends."""
RECENT = 100
"""Number of statuses and alerts that stay in memory, in case the database can't store them."""
COMPILE_SECONDS = 3.0
"""Seconds after a stop request until a device thread that is still compiling is abandoned.

This happens only with ``leave_compile``; otherwise the run waits for the end of the compilation.
"""

_log = logging.getLogger(__name__)


class RunLife:
    """The tasks of a run on the event loop. ``live`` runs these tasks from start to end."""

    def __init__(
        self,
        plan: RunPlan,
        mailbox: Mailbox,
        sinks: Sequence[Sink],
        callbacks: Sequence[Callback],
        stopping: asyncio.Event,
        *,
        leave_compile: bool,
    ) -> None:
        """``stopping`` is set when the run has been asked to end.

        ``leave_compile``: whether a stop may abandon a device thread that is still compiling.
        """
        self.outcome: RunOutcome
        """How the run ended. The value exists only after ``live`` has returned."""
        self.left_behind = False
        """Whether the run abandoned a thread that was still compiling, or writing for a sink."""
        self.recent: deque[Event] = deque(maxlen=RECENT)
        """The newest statuses and alerts, newest first."""
        self._plan, self._mailbox = plan, mailbox
        self._stopping, self._leave_compile = stopping, leave_compile
        self._outbox = Outbox()
        self._state = RunState(plan.run.id, plan.settings, plan.start)
        self.records = EvaluationRecords(self.emit)
        unfinished = self.records.restore(plan.evaluations)
        self.evaluations = Evaluations(plan.run, mailbox, self.records, unfinished)
        self.guests = Guests(mailbox)
        self._regular = RegularEvaluations(
            plan.settings, self.evaluations, plan.start.step, unfinished
        )
        self.hub = Hub(self._state.status)
        self.readers = Readers(self._reset)
        self._heartbeat = Heartbeat(add=self._state.telemetry.loop_lag.add)
        self._losses = Losses()
        stored = Stored(plan.start.iteration)
        database = DatabaseSink(plan.database, self.alert, stored)
        self._callbacks = [CallbackSink(type(c).__name__, c, self.alert) for c in callbacks]
        board = BoardSink(partial(write_board, plan.run.path), self.alert)
        written: tuple[Sink, ...] = (database, board, *sinks)
        self._feeds = [Feed(sink) for sink in (*written, *self._callbacks)]
        self.worker = Worker(plan, mailbox, self._outbox, stored)
        for remark in plan.remarks:
            self.alert("start", "warning", remark)

    def extend(self, extensions: Extensions) -> None:
        """Add the sinks and callbacks that the settings name. Call this before ``live``."""
        added = [CallbackSink(*item, self.alert) for item in extensions.callbacks.items()]
        self._callbacks += added
        self._feeds += [Feed(sink) for sink in (*extensions.sinks.values(), *added)]
        for name, text in extensions.broken.items():
            tell(self.alert, name, "error", text)
            self._losses.add(name, text)

    async def live(self) -> None:
        """Train to the end, then close everything.

        The device thread ends first, then evaluations, outbox, sinks, streams and files, because
        events pass through these parts in this order.
        """
        try:
            async with create_task_group() as supervised:
                self._supervise(supervised)
                try:
                    await self._train()
                except Exception as crash:  # noqa: BLE001 (an error must not cancel the host's block)
                    await self._crashed(crash)
                supervised.cancel_scope.cancel()
        finally:
            for close in (self.records.close, self.hub.close, self.readers.close):
                with _logged():
                    close()
            for release in (self._plan.database.close, self._plan.run.close):
                with _logged():
                    await to_thread.run_sync(release)

    def _supervise(self, group: anyio.abc.TaskGroup) -> None:
        """Start the tasks whose failure does not end training."""
        for name, run in (
            ("stream", self.hub.run),
            ("heartbeat", self._heartbeat.run),
            ("watchdog", partial(watch, lambda: self.worker.beat, self.alert)),
        ):
            task = partial(supervise, name, run, self.alert, losses=self._losses)
            group.start_soon(task, name=f"keisei {name}")

    async def _train(self) -> None:
        async with create_task_group() as sinks:
            for feed in self._feeds:
                sinks.start_soon(feed.run, self.alert, self._losses)
            async with create_task_group() as pump:
                pump.start_soon(self._pump)
                try:
                    async with self.evaluations.play():
                        await self._device_thread()
                        if self._plan.keep_serving:
                            await self._stopping.wait()
                finally:
                    self._outbox.close()  # `_pump` passes on the last events, then ends
            for feed in self._feeds:
                feed.close()
            sinks.cancel_scope.deadline = anyio.current_time() + CLOSE_SECONDS
        if sinks.cancel_scope.cancelled_caught:
            self.left_behind = True
            _log.warning("abandoned a sink that was not closed %.0f s after the end", CLOSE_SECONDS)

    async def _device_thread(self) -> None:
        """Run the device thread and wait for its end, even if this task is cancelled.

        With ``leave_compile``, a stop during a compilation ends the wait early.
        """
        with CancelScope(shield=True):
            async with create_task_group() as group:
                if self._leave_compile:
                    group.start_soon(self._leave_if_compiling, group.cancel_scope)
                self.outcome = await to_thread.run_sync(
                    self.worker.main,
                    limiter=CapacityLimiter(1),
                    abandon_on_cancel=self._leave_compile,
                )
                group.cancel_scope.cancel()

    async def _leave_if_compiling(self, waiting: CancelScope) -> None:
        """After a stop request, end the wait for a device thread that is still compiling.

        A compilation can't be interrupted. No training is lost, because training has not begun.
        """
        await self._stopping.wait()
        await anyio.sleep(COMPILE_SECONDS)
        if self.worker.beat[0] in {"start", "compile"}:
            self.left_behind, self.outcome = True, RunOutcome("stopped")
            self.emit(Status, kind="stopped", state="stopped", message="while compiling")
            waiting.cancel()

    async def _pump(self) -> None:
        """Pass on all events until the outbox is closed. At the end, stop the device thread."""
        try:
            while events := await self._outbox.drain():
                for event in events:
                    self._hand_on(event)
                    await anyio.lowlevel.checkpoint()
        finally:
            self._mailbox.request_stop()

    def _hand_on(self, event: Event) -> None:
        if isinstance(event, Iteration):
            values = event.values | self.evaluations.values | self._loop_values()
            event = replace(event, values=values)
            self._regular.reached(event.step)
        if isinstance(event, Status | Alert):
            self.recent.appendleft(event)
        self._state.update(event)
        self.hub.publish(event)
        self.readers.publish(event)
        for feed in self._feeds:
            if not feed.put(event):
                text = "the queue of this sink is full, so the sink misses events from now on"
                self.alert(feed.name, "error", text)
                self._losses.add(feed.name, text)

    async def _crashed(self, crash: Exception) -> None:
        """Send ``crash``, the exception of an event loop task, to all readers.

        If ``keep_serving`` is set, wait for a stop request afterwards.
        """
        _log.error("the run failed", exc_info=crash)
        failed, self.outcome = failure(crash, self._state.run, self._state.step)
        self._state.update(failed)
        self.readers.publish(failed)
        self.hub.publish(failed)
        self.recent.appendleft(failed)
        if self._plan.keep_serving:
            await self._stopping.wait()

    # ------------------------------------------------------------------ events and status
    def alert(self, name: str, level: Level, message: str) -> None:
        """Send an alert. Any thread can call this method."""
        self.emit(Alert, name=name, level=level, message=message)

    def log(self, name: str, level: Level, message: str) -> None:
        """Send a log line. Any thread can call this method."""
        self.emit(Log, name=name, level=level, message=message)

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Send an event of class ``kind`` with the current step. Any thread can call this."""
        self._outbox.emit(self._state.event(kind, **fields), always=True)

    @property
    def telemetry(self) -> Telemetry:
        """Counts and distributions since this process opened the run."""
        return self._state.telemetry

    def status(self) -> StatusReport:
        """Return the current state of the run."""
        phase, since = self.worker.beat
        return self._state.report(
            stopping=self._mailbox.stop_requested,
            elapsed=self.worker.elapsed,
            phase=phase,
            beat_age=time.monotonic() - since,
            clients=self.hub.clients,
            dropped=self._dropped,
            degraded=self._losses.now(),
        )

    @property
    def _dropped(self) -> int:
        return self._outbox.dropped + sum(feed.dropped for feed in self._feeds)

    def _loop_values(self) -> dict[str, float]:
        failures = {"system/callback_failures": float(sum(c.failures for c in self._callbacks))}
        return (failures if self._callbacks else {}) | {
            "system/loop_lag_ms": self._heartbeat.worst_lag() * 1000,
            "system/clients": float(self.hub.clients),
            "system/dropped": float(self._dropped),
        }

    def _reset(self) -> Reset:
        return self._state.event(Reset, state=self._state.state)


@contextmanager
def _logged() -> Iterator[None]:
    """Log an exception of the block and do not raise it, so that the next part is closed too."""
    try:
        yield
    except Exception:  # noqa: BLE001 (a failed close must not change the run's outcome)
        _log.exception("closing the run failed")
