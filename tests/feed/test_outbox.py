"""The queue of events from the device thread to the event loop."""

import asyncio
import threading
import time
from collections import deque
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from keisei.errors import OutboxOverflow
from keisei.events import Board, Event, Log, Status
from keisei.feed.outbox import Outbox
from keisei.feed.supervise import Heartbeat

pytestmark = pytest.mark.anyio


def log(number: int) -> Event:
    return Log(run="r", step=number, time=0.0, name="n", level="info", message="")


def status(number: int) -> Event:
    return Status(run="r", step=number, time=0.0, kind="running", state="running")


async def drain_all(outbox: Outbox) -> list[int]:
    """Return the numbers of all events until the end of the stream."""
    got: list[int] = []
    while events := await outbox.drain():
        got += [event.step for event in events]
    return got


async def test_events_come_in_the_order_they_were_emitted() -> None:
    outbox = Outbox()
    for number in range(10):
        outbox.emit((log if number % 3 else status)(number))
    outbox.close()
    assert await drain_all(outbox) == list(range(10))


async def test_a_finaliser_that_logs_while_the_lock_is_held_does_not_deadlock() -> None:
    outbox = Outbox()

    class Logs:
        def __del__(self) -> None:
            outbox.emit(log(1))

    class Full(deque[Any]):
        def append(self, item: Any) -> None:
            Logs()
            super().append(item)

    outbox._kept = Full()
    thread = threading.Thread(target=outbox.emit, args=(status(0),), daemon=True)
    thread.start()
    await anyio.to_thread.run_sync(thread.join, 2)
    assert not thread.is_alive()
    outbox.close()
    assert sorted(await drain_all(outbox)) == [0, 1]


async def test_a_flood_drops_the_oldest_events_counts_them_and_leaves_the_loop_responsive() -> None:
    outbox, heartbeat = Outbox(), Heartbeat(0.01)
    done = threading.Event()

    def flood() -> None:
        for number in range(50_000):
            outbox.emit(log(number))
        outbox.emit(status(50_000))
        outbox.close()
        done.set()

    got: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heartbeat.run)
        threading.Thread(target=flood).start()
        while events := await outbox.drain():
            for event in events:
                time.sleep(0.0002)  # noqa: ASYNC251 (what handling an event may cost)
                got.append(event.step)
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert done.is_set()
    assert got == sorted(got)
    assert got[-1] == 50_000, "what must be kept was lost"
    assert outbox.dropped == 50_001 - len(got) > 0
    assert heartbeat.worst_lag() < 0.25


async def test_many_events_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox()
    wakes = []
    monkeypatch.setattr(outbox, "_wake", lambda: wakes.append(1))
    for number in range(1000):
        outbox.emit(log(number))
    assert len(wakes) == 1


async def test_an_event_that_must_be_kept_and_finds_no_room_is_an_error() -> None:
    outbox = Outbox(kept=3)
    for number in range(3):
        outbox.emit(status(number))
    with pytest.raises(OutboxOverflow, match="limit 3 events"):
        outbox.emit(status(3))
    outbox.emit(status(4), always=True)
    outbox.close()
    assert await drain_all(outbox) == [0, 1, 2, 4]


async def test_drain_sleeps_while_there_are_no_events() -> None:
    class Bell(asyncio.Event):
        waits = 0

        async def wait(self) -> Any:
            self.waits += 1
            assert self.waits < 10, "drain spins"
            return await super().wait()

    outbox = Outbox()
    outbox._ready = bell = Bell()
    outbox.emit(log(1))
    assert [event.step for event in await outbox.drain()] == [1]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.drain)
        await anyio.wait_all_tasks_blocked()
        assert bell.waits <= 3
        tasks.cancel_scope.cancel()


async def test_events_of_one_call_come_together_or_not_at_all() -> None:
    outbox = Outbox(kept=3)
    together = [status(0), log(1), status(2)]
    threading.Thread(target=outbox.emit, args=together).start()
    with anyio.fail_after(5):
        assert await outbox.drain() == together
    outbox.emit(status(3))
    with pytest.raises(OutboxOverflow, match=r"running: .*limit 3 events"):
        outbox.emit(*(status(number) for number in (4, 5, 6)))
    outbox.close()
    assert await drain_all(outbox) == [3]


async def test_an_event_wakes_a_loop_that_sleeps() -> None:
    outbox = Outbox()
    got: list[int] = []

    async def drain() -> None:
        got.extend(event.step for event in await outbox.drain())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            await anyio.wait_all_tasks_blocked()
            threading.Thread(target=outbox.emit, args=[log(7)]).start()
    assert got == [7]


async def test_events_after_close_are_dropped_and_counted() -> None:
    outbox = Outbox()
    outbox.close()
    outbox.emit(status(1))
    assert outbox.dropped == 1
    assert await outbox.drain() == []


def test_emitting_to_a_closed_loop_is_no_error() -> None:
    async def make() -> Outbox:
        return Outbox()

    outbox = anyio.run(make)
    outbox.emit(
        Board(run="r", step=0, time=0.0, game=1, sfen="", last_move=None, ply=0, value=None)
    )
    outbox.close()
