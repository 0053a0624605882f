"""``Keisei`` as a host program sees it, around a learner that only sleeps."""
# ruff: noqa: PT012 (what raises is the end of the `async with`, so its body must be inside)

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import torch
from anyio import to_thread
from fake_learner import FakeLearner
from run_tools import (
    Learners,
    raising,
    saved,
    settings,
    subscribed,
    until,
)

from keisei import (
    Failed,
    Iteration,
    Keisei,
    NotRunning,
    Reset,
    Status,
    TrainingFailed,
)
from keisei.store import (
    DatabaseError,
    RunLockedError,
    RunReader,
    find_checkpoint,
)

pytestmark = pytest.mark.anyio


def open_files() -> int:
    """Return how many file descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_run_ends_by_itself_and_sends_its_states_in_order(tmp_path: Path) -> None:
    learners = Learners()
    async with Keisei(settings(tmp_path, steps=500), _learner=learners) as keisei:
        events = [event async for event in keisei.events()]
        outcome = await keisei.wait()
    assert outcome.kind == "finished"
    life = [event.event for event in events if isinstance(event, Status)]
    assert life[:3] == ["started", "compiling", "running"]
    assert life[-2:] == ["checkpoint", "finished"]
    assert [e.step for e in events if isinstance(e, Iteration)] == [100, 200, 300, 400, 500]
    assert learners.made[0].env.closed
    assert (await saved(keisei))[-1] == 500
    assert keisei.status().state == "finished"


async def test_leaving_the_block_stops_the_run_and_saves(tmp_path: Path) -> None:
    learners = Learners()
    async with Keisei(settings(tmp_path), _learner=learners) as keisei:
        await until(keisei, Iteration)
    assert (await keisei.wait()).kind == "stopped"
    assert (await saved(keisei))[-1] == learners.made[0].step > 0
    with pytest.raises(NotRunning):
        await keisei.pause()


async def test_a_failure_reaches_readers_and_streams_within_a_second(tmp_path: Path) -> None:
    raised_at = 0.0

    def on_turn(learner: FakeLearner, turn: int) -> None:
        nonlocal raised_at
        if learner.iteration == 2:
            raised_at = time.monotonic()
            raise ArithmeticError("loss is not finite")

    seen: list[float] = []
    frames: list[bytes] = []

    async def stream(keisei: Keisei) -> None:
        async with subscribed(keisei, ["status"]) as chunks:
            async for chunk in chunks:
                frames.append(chunk)
                if b"event: failed" in chunk:
                    seen.append(time.monotonic())

    with pytest.raises(TrainingFailed, match="ArithmeticError: loss is not finite") as failure:
        async with (
            Keisei(settings(tmp_path), _learner=Learners(on_turn=on_turn)) as keisei,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(stream, keisei)
            events = [event async for event in keisei.events(topics={"metrics"})]
            seen.append(time.monotonic())
            assert isinstance(events[-1], Failed)
            assert events[-1].type == "ArithmeticError"
            assert "on_turn" in events[-1].traceback
    assert "on_turn" in failure.value.details
    assert len(seen) == 2
    assert max(seen) - raised_at < 1
    assert b"event: bye" in frames[-1]


async def test_a_failed_run_never_cancels_the_block(tmp_path: Path) -> None:
    went_on = False
    with pytest.raises(TrainingFailed):
        async with Keisei(settings(tmp_path), _learner=Learners(on_turn=raising(0))) as keisei:
            outcome = await keisei.wait()
            assert outcome.kind == "failed"
            await anyio.lowlevel.checkpoint()  # raises if the block is cancelled
            went_on = True
    assert went_on


async def test_an_exception_of_the_block_itself_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with Keisei(settings(tmp_path), _learner=Learners(on_turn=raising(0))) as keisei:
            await keisei.wait()
            raise KeyError("mine")


async def test_the_history_of_a_damaged_database_still_shows_recent_alerts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: Any) -> None:
        raise DatabaseError("keisei.db: damaged")

    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        keisei.alert("database", "error", "it is damaged")
        monkeypatch.setattr(RunReader, "events", damaged)
        await until(keisei, Iteration)
        history = await to_thread.run_sync(keisei.history)
        assert "it is damaged" in [event["message"] for event in history]
        with pytest.raises(DatabaseError):
            await to_thread.run_sync(keisei.history, 100, 7)


async def test_entering_a_run_that_another_has_locked_raises_and_harms_nothing(
    tmp_path: Path,
) -> None:
    async with Keisei(settings(tmp_path), _learner=Learners()) as first:
        again = Keisei(settings(tmp_path), run=first.run.path, resume=True, _learner=Learners())
        with pytest.raises(RunLockedError, match=str(os.getpid())):
            async with again:
                raise AssertionError("entered a locked run")
        await until(first, Iteration)  # it goes on


# ---------------------------------------------------------------------- start and aclose
async def test_a_run_is_started_in_one_task_and_closed_in_another(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path), _learner=Learners())
    assert await asyncio.create_task(keisei.start()) is keisei
    await asyncio.create_task(until(keisei, Iteration))
    await asyncio.create_task(keisei.aclose())
    assert keisei.status().state == "stopped"
    assert (await saved(keisei))[-1] > 0
    await keisei.aclose()  # nothing is left to close
    with pytest.raises(NotRunning):
        await keisei.start()


async def test_starting_a_run_that_another_has_locked_raises(tmp_path: Path) -> None:
    async with Keisei(settings(tmp_path), run=tmp_path / "run", _learner=Learners()):
        other = Keisei(settings(tmp_path), run=tmp_path / "run", resume=True, _learner=Learners())
        with pytest.raises(RunLockedError):
            await other.start()
        await other.aclose()


async def test_only_the_first_close_raises_that_training_failed(tmp_path: Path) -> None:
    keisei = await Keisei(settings(tmp_path), _learner=Learners(on_turn=raising(1))).start()
    await until(keisei, Failed)
    assert (await keisei.wait()).kind == "failed"
    with pytest.raises(TrainingFailed, match="not finite"):
        await keisei.aclose()
    await keisei.aclose()


async def test_a_start_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    learners = Learners()
    keisei = Keisei(settings(tmp_path), _learner=learners)
    with anyio.move_on_after(0.001):
        await keisei.start()
    await keisei.aclose()
    assert all(learner.env.closed for learner in learners.made)


def test_a_run_that_is_never_closed_warns_and_does_not_hang_the_program(tmp_path: Path) -> None:
    learners = Learners()

    async def forget() -> None:
        keisei = await Keisei(settings(tmp_path), _learner=learners).start()
        await until(keisei, Iteration)

    def forget_and_collect() -> None:
        asyncio.run(forget())
        while not learners.made[0].env.closed:
            time.sleep(0.02)
        gc.collect()

    with pytest.warns(ResourceWarning, match="was not closed"):
        forget_and_collect()


ABANDON = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fake_learner import FakeLearner
from keisei import Iteration, Keisei, Settings
from keisei.config import Run

async def begin():
    settings = Settings(run=Run(root=Path(sys.argv[2])))
    keisei = await Keisei(settings, _learner=FakeLearner).start()
    await anext(keisei.events({"metrics"}))
    return keisei

loop = asyncio.new_event_loop()
keisei = loop.run_until_complete(begin())
"""


def test_a_program_that_closes_neither_loop_nor_run_still_ends_and_saves(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ABANDON, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, check=False, timeout=40)
    assert done.returncode == 0
    assert find_checkpoint(next(tmp_path.iterdir()))[0].name.lstrip("0")


async def test_a_run_that_is_stopped_before_it_is_opened_ends_at_once(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path), _learner=Learners())
    keisei.stop()
    async with keisei:
        assert (await keisei.wait()).kind == "stopped"


async def test_a_slow_reader_of_events_gets_reset(tmp_path: Path) -> None:
    learners = Learners(turns=1, seconds=0.0005)
    async with Keisei(settings(tmp_path, steps=60_000), _learner=learners) as keisei:
        events = keisei.events()
        await keisei.wait()
        got = [event async for event in events]
    assert isinstance(got[0], Reset)
    assert got[-1].event == "finished"


# ------------------------------------------------------------ several runs, the host's process
async def test_two_runs_in_one_process_do_not_disturb_each_other(tmp_path: Path) -> None:
    one, two = Learners(), Learners(steps=7)
    async with (
        Keisei(settings(tmp_path), _learner=one) as first,
        Keisei(settings(tmp_path), _learner=two) as second,
    ):
        assert first.run.id != second.run.id
        await until(first, Iteration)
        await until(second, Iteration)
        await first.pause()
        assert second.status().state == "running"
        await until(second, Iteration)
    assert (await saved(first))[-1] == one.made[0].step
    assert (await saved(second))[-1] == two.made[0].step


async def test_a_run_can_be_entered_only_once(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path, steps=100), _learner=Learners())
    with pytest.raises(NotRunning, match="not open"):
        keisei.status()
    async with keisei:
        pass
    with pytest.raises(NotRunning, match="only once"):
        async with keisei:
            pass


async def test_a_host_cancelled_while_it_closes_a_run_still_waits_for_the_end(
    tmp_path: Path,
) -> None:
    inside, gate = threading.Event(), threading.Event()

    def on_turn(learner: FakeLearner, turn: int) -> None:
        inside.set()
        gate.wait(10)

    learners = Learners(on_turn=on_turn)
    keisei = await Keisei(settings(tmp_path), _learner=learners).start()
    await to_thread.run_sync(inside.wait, 10)
    closing = asyncio.create_task(keisei.aclose())
    for _ in range(3):
        await asyncio.sleep(0.01)
        closing.cancel()  # a native cancel, which anyio's shield does not stop
    await asyncio.sleep(0.01)
    assert not closing.done(), "the run has not ended yet"
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert learners.made[0].env.closed
    await keisei.aclose()


async def test_a_host_cancelled_at_any_moment_leaves_nothing_behind(tmp_path: Path) -> None:
    """The host is cancelled after numbers of loop turns, then after fractions of a second."""

    async def host(learners: Learners) -> None:
        async with (
            Keisei(settings(tmp_path, steps=300), _learner=learners) as keisei,
            subscribed(keisei, []) as chunks,
        ):
            async for _ in keisei.events():
                pass
            async for _ in chunks:
                pass

    async def loop_turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    waits: list[Callable[[], Any]] = [partial(loop_turns, n) for n in range(0, 40, 4)]
    waits += [partial(anyio.sleep, n / 40) for n in range(1, 10)]
    await host(Learners())
    files = open_files()
    for native in (True, False):
        for wait in waits:
            learners = Learners()
            if native:
                task = asyncio.get_running_loop().create_task(host(learners))
                await wait()
                task.cancel()
                await asyncio.wait([task], timeout=5)
                assert task.done()
            else:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(host, learners)
                    await wait()
                    tasks.cancel_scope.cancel()
            assert all(learner.env.closed for learner in learners.made)
    assert open_files() <= files
    working = [t for t in threading.enumerate() if t.name == "AnyIO worker thread"]
    assert len(working) <= 4, "device threads are still alive"
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert "keisei" not in names


def test_no_thread_outlives_the_loop(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    async def host() -> None:
        async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
            await until(keisei, Iteration)

    anyio.run(host)
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_entering_changes_nothing_process_wide(tmp_path: Path) -> None:
    def process_state() -> list[object]:
        return [
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            list(logging.getLogger().handlers),
            logging.getLogger().level,
            sys.getswitchinterval(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(),
        ]

    async def host() -> None:
        before = process_state()
        async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
            await until(keisei, Iteration)
            assert process_state() == before
        assert process_state() == before

    anyio.run(host)
