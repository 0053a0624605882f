"""``Keisei`` as a host program sees it, around a learner that only sleeps."""
# ruff: noqa: PT012 (what raises is the end of the `async with`, so its body must be inside)

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch
from anyio import to_thread
from fake_learner import FakeLearner

from keisei import (
    Alert,
    Failed,
    InboxFull,
    Iteration,
    Keisei,
    NotRunning,
    Reset,
    Settings,
    Status,
    TrainingFailed,
)
from keisei.config import Compute, Run, SettingsError
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Evaluation, Event, Topic
from keisei.feed.sinks import DatabaseSink
from keisei.store import (
    CheckpointError,
    DatabaseError,
    RunDirectory,
    RunLockedError,
    RunReader,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)

pytestmark = pytest.mark.anyio


class Learners:
    """Makes fakes and keeps them for the test to look at."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.made: list[FakeLearner] = []

    def __call__(self, settings: Settings) -> FakeLearner:
        self.made.append(FakeLearner(settings, **self.options))
        return self.made[-1]


def settings(path: Path, **run: Any) -> Settings:
    return Settings(run=Run(root=path, **run))


def raising(at: int) -> Callable[[FakeLearner, int], None]:
    def on_turn(learner: FakeLearner, turn: int) -> None:
        if learner.iteration == at:
            raise ArithmeticError("loss is not finite")

    return on_turn


async def until(keisei: Keisei, wanted: type[Event], /, **fields: Any) -> Any:
    async for event in keisei.events():
        if isinstance(event, wanted) and all(getattr(event, k) == v for k, v in fields.items()):
            return event
    raise AssertionError(f"the run ended without {wanted.__name__} {fields}")


@asynccontextmanager
async def subscribed(keisei: Keisei, topics: Collection[Topic]) -> AsyncIterator[Any]:
    """Open a stream of encoded events, as a client of the server does."""
    with keisei.hub.subscribe(topics) as chunks:
        async with aclosing(chunks):
            yield chunks


async def becomes(condition: Callable[[], Any]) -> None:
    """Wait until it is so."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 (nobody tells of it)
            await anyio.sleep(0.01)


async def saved(keisei: Keisei) -> list[int]:
    """Steps of the run's checkpoints, each read whole."""
    return await to_thread.run_sync(
        lambda: [load_checkpoint(path).step for path in keisei.run.checkpoints()]
    )


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# ---------------------------------------------------------------------- life
async def test_a_run_ends_by_itself_and_tells_its_life_in_order(tmp_path: Path) -> None:
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


async def test_metrics_reach_the_database_with_what_the_loop_adds(tmp_path: Path) -> None:
    async with Keisei(settings(tmp_path, steps=500), _learner=Learners()) as keisei:
        await keisei.wait()
    series = (await to_thread.run_sync(RunReader(keisei.run.path).metrics))["series"]
    assert series["train/kl"]["step"] == [100, 200, 300, 400, 500]
    assert set(series) >= {
        "speed/steps_per_second", "speed/share_evaluation", "system/rss_bytes",
        "system/heap_bytes", "system/device_bytes", "system/loop_lag_ms", "system/clients",
        "system/dropped",
    }  # fmt: skip
    # 100 steps in 4 turns of 5 ms
    assert all(500 < value < 5000 for value in series["speed/steps_per_second"]["value"])
    assert min(series["system/rss_bytes"]["value"]) > 1e7


async def test_leaving_the_block_stops_and_saves(tmp_path: Path) -> None:
    learners = Learners()
    async with Keisei(settings(tmp_path), _learner=learners) as keisei:
        await until(keisei, Iteration)
        begin = time.monotonic()
    assert time.monotonic() - begin < 1
    assert (await keisei.wait()).kind == "stopped"
    assert (await saved(keisei))[-1] == learners.made[0].step > 0
    with pytest.raises(NotRunning):
        await keisei.pause()


async def test_an_iteration_too_long_to_finish_is_given_up(tmp_path: Path) -> None:
    learners = Learners(turns=1000, seconds=0.01)
    async with Keisei(settings(tmp_path), _learner=learners) as keisei:
        await until(keisei, Status, kind="running")
        await anyio.sleep(0.1)
        keisei._life.worker.pace.add(0.0)
        keisei._life.worker.pace._typical = 10.0  # as if earlier ones had taken ten seconds
        begin = time.monotonic()
        keisei.stop()
        await keisei.wait()
        assert time.monotonic() - begin < 1
    assert learners.made[0].given_up == 1
    assert await saved(keisei) == []


async def test_an_iteration_nearly_done_is_finished_and_saved(tmp_path: Path) -> None:
    learners = Learners(turns=40, seconds=0.01)
    async with Keisei(settings(tmp_path), _learner=learners) as keisei:
        await until(keisei, Iteration)
        await anyio.sleep(0.1)
    assert learners.made[0].given_up == 0
    assert (await saved(keisei))[-1] == learners.made[0].step >= 200


@pytest.mark.parametrize("phase", ["start", "compile", "iteration", "pause", "finished"])
async def test_stop_is_quick_in_every_phase(tmp_path: Path, phase: str) -> None:
    learners = Learners(warm_up_seconds=0.2 if phase == "compile" else 0.0)
    steps = 100 if phase == "finished" else 0
    keisei = Keisei(
        settings(tmp_path, steps=steps), _learner=learners, keep_serving=phase == "finished"
    )
    async with keisei:
        if phase == "iteration":
            await until(keisei, Iteration)
        elif phase == "pause":
            await until(keisei, Iteration)
            await keisei.pause()
        elif phase == "compile":
            await until(keisei, Status, kind="compiling")
        elif phase == "finished":
            await until(keisei, Status, kind="finished")
        begin = time.monotonic()
        keisei.stop()
        with anyio.fail_after(2):
            outcome = await keisei.wait()
        assert time.monotonic() - begin < 1
    assert outcome.kind == ("finished" if phase == "finished" else "stopped")


async def test_kept_serving_it_stays_up_after_the_end(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path, steps=200), _learner=Learners(), keep_serving=True)
    async with keisei:
        await until(keisei, Status, kind="finished")
        await anyio.sleep(0.1)
        assert keisei.status().phase == "idle"
        with pytest.raises(NotRunning, match="finished"):
            await keisei.pause()
        keisei.stop()
        assert (await keisei.wait()).kind == "finished"


# ---------------------------------------------------------------------- commands
async def test_pause_resume_and_checkpoint_have_two_ends(tmp_path: Path) -> None:
    learners = Learners()
    async with Keisei(settings(tmp_path, checkpoint_seconds=1000), _learner=learners) as keisei:
        await until(keisei, Iteration)
        chosen = keisei.status().message
        assert "threads" in chosen
        await keisei.pause()
        assert keisei.status().state == "paused"
        step, iteration = learners.made[0].step, learners.made[0].iteration
        elapsed = keisei.status().elapsed
        await anyio.sleep(0.1)
        assert keisei.status().elapsed == elapsed > 0
        assert (learners.made[0].step, learners.made[0].iteration) == (step, iteration)
        command = keisei.submit("checkpoint")  # accepted; the iteration in progress ends first
        assert not command.finished.done
        path = await command.finished
        assert int(path.name) == (await saved(keisei))[-1] == learners.made[0].step
        await anyio.sleep(0.05)
        assert keisei.status().state == "paused", "a checkpoint does not end a pause"
        assert keisei.status().checkpoint == learners.made[0].step
        await keisei.resume()
        event = await until(keisei, Iteration)
        assert event.step > step
        await keisei.resume()  # no harm
        assert keisei.status().state == "running"
        assert keisei.status().message == chosen


async def test_a_full_inbox_refuses(tmp_path: Path) -> None:
    gate = threading.Event()
    learners = Learners(on_turn=lambda learner, turn: gate.wait(5) and None)
    async with Keisei(settings(tmp_path), _learner=learners) as keisei:
        await until(keisei, Status, kind="running")
        await anyio.sleep(0.05)
        commands = [keisei.submit("resume") for _ in range(8)]
        with pytest.raises(InboxFull):
            keisei.submit("resume")
        gate.set()
        for command in commands:
            await command.finished


async def test_a_full_disk_is_an_alert_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    def save(*args: Any) -> Path:
        if full:
            raise OSError(28, "No space left on device")
        return save_checkpoint(*args)

    monkeypatch.setattr("keisei.runtime.saving.save_checkpoint", save)
    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        alert = await until(keisei, Alert, name="checkpoint_failed")
        assert "No space left" in alert.message
        with pytest.raises(OSError, match="No space left"):
            await keisei.checkpoint()
        await until(keisei, Iteration)
        full = False
        await keisei.checkpoint()
        assert await saved(keisei)


@pytest.mark.parametrize("end", ["steps", "stop", "raise", "save"])
async def test_a_checkpoints_reply_comes_however_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Asked for within the last iteration."""
    inside, gate = threading.Event(), threading.Event()

    def on_turn(learner: FakeLearner, turn: int) -> None:
        if turn == 2:
            inside.set()
            gate.wait(5)
        if turn == 3 and end == "raise":
            raise ArithmeticError("loss is not finite")

    def save(*args: Any) -> Path:
        raise RuntimeError("not an OSError")

    if end == "save":
        monkeypatch.setattr("keisei.runtime.saving.save_checkpoint", save)
    keisei = Keisei(
        settings(tmp_path, steps=100 if end == "steps" else 0), _learner=Learners(on_turn=on_turn)
    )
    try:
        async with keisei:
            await to_thread.run_sync(inside.wait, 5)
            command = keisei.submit("checkpoint")
            if end == "stop":
                keisei._life.worker._worth_finishing = lambda: False  # type: ignore[method-assign]
                keisei.stop()
                assert keisei.status().state == "stopping"
                assert keisei.status().message == "", "not that of the state before"
            gate.set()
            with anyio.fail_after(2):
                if end == "steps":
                    assert int((await command.finished).name) == 100
                else:
                    with pytest.raises(NotRunning):
                        await command.finished
    except TrainingFailed:
        assert end in {"raise", "save"}


# ---------------------------------------------------------------------- failure
async def test_failure_reaches_readers_and_streams_within_a_second(tmp_path: Path) -> None:
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


async def test_a_failed_worker_never_cancels_the_block(tmp_path: Path) -> None:
    went_on = False
    with pytest.raises(TrainingFailed):
        async with Keisei(settings(tmp_path), _learner=Learners(on_turn=raising(0))) as keisei:
            outcome = await keisei.wait()
            assert outcome.kind == "failed"
            await anyio.sleep(0.05)
            went_on = True
    assert went_on


async def test_the_blocks_own_exception_wins_and_is_not_wrapped(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with Keisei(settings(tmp_path), _learner=Learners(on_turn=raising(0))) as keisei:
            await keisei.wait()
            raise KeyError("mine")


async def test_kept_serving_a_failed_run_still_answers(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path), _learner=Learners(on_turn=raising(1)), keep_serving=True)
    with pytest.raises(TrainingFailed):
        async with keisei:
            await until(keisei, Failed)
            await anyio.sleep(0.05)
            assert keisei.status().state == "failed"
            assert "not finite" in keisei.status().message
            async with subscribed(keisei, []) as chunks:
                assert b'"state":"failed"' in await anext(chunks)
                with anyio.move_on_after(0.6) as waiting:
                    async for _ in chunks:
                        pass
                assert waiting.cancelled_caught, "the stream did not stay open"
            with pytest.raises(NotRunning):
                await keisei.pause()
            keisei.stop()
            await keisei.wait()


async def test_evaluations_that_a_failed_worker_never_took_are_ended(tmp_path: Path) -> None:
    gate = threading.Event()

    def on_turn(learner: FakeLearner, turn: int) -> None:
        gate.wait(5)
        raise ArithmeticError("loss is not finite")

    keisei = Keisei(settings(tmp_path), _learner=Learners(on_turn=on_turn), keep_serving=True)
    with pytest.raises(TrainingFailed):
        async with keisei:
            await until(keisei, Status, kind="running")
            await anyio.sleep(0.02)
            evaluation = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=2))
            gate.set()
            with anyio.fail_after(10):
                assert (await evaluation.result())["state"] == "interrupted"


async def test_a_learner_that_cannot_warm_up_is_closed_and_let_go(tmp_path: Path) -> None:
    class Cold(FakeLearner):
        def warm_up(self) -> None:
            raise MemoryError("no room")

    made: list[FakeLearner] = []

    def build(settings: Settings) -> FakeLearner:
        made.append(Cold(settings))
        return made[0]

    with pytest.raises(TrainingFailed, match="no room"):
        async with Keisei(settings(tmp_path), _learner=build) as keisei:
            await keisei.wait()
            assert made[0].env.closed
            assert not hasattr(keisei._life.worker, "_learner")


async def test_a_network_that_runs_uncompiled_is_told(tmp_path: Path) -> None:
    learners = Learners(compile_failure="no C++ compiler")
    async with Keisei(settings(tmp_path, steps=500), _learner=learners) as keisei:
        alert = await until(keisei, Alert, name="compile")
        assert "no C++ compiler" in alert.message


async def test_what_stands_beside_training_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(self: Any) -> None:
        raise ValueError("telemetry")

    monkeypatch.setattr("keisei.feed.hub.Hub.run", crash)
    async with Keisei(settings(tmp_path, steps=500), _learner=Learners()) as keisei:
        alert = await until(keisei, Alert, name="stream")
        assert "telemetry" in alert.message
        assert (await keisei.wait()).kind == "finished"


async def test_a_crash_of_the_loops_part_is_the_runs_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingFailed, match="pump"):
        async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:

            def crash(event: Event) -> None:
                raise ValueError("pump")

            monkeypatch.setattr(keisei._life, "_hand_on", crash)
            await keisei.wait()
            assert keisei.status().state == "failed"


async def test_kept_serving_a_crash_of_the_loops_part_leaves_a_failed_run_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = Learners()
    with pytest.raises(TrainingFailed, match="pump"):
        async with Keisei(settings(tmp_path), _learner=learners, keep_serving=True) as keisei:

            def crash(event: Event) -> None:
                raise ValueError("pump")

            await until(keisei, Iteration)
            monkeypatch.setattr(keisei._life, "_hand_on", crash)
            async for event in keisei.events():
                if isinstance(event, Failed):
                    break
            assert learners.made[0].env.closed
            with anyio.move_on_after(0.3) as waiting:
                await keisei.wait()
            assert waiting.cancelled_caught, "the run did not stay up"
            assert keisei.status().state == "failed"
            keisei.stop()
            with anyio.fail_after(5):
                await keisei.wait()
    assert (await saved(keisei))[-1] == learners.made[0].step > 0


@pytest.mark.parametrize(
    "broken",
    [
        "keisei.feed.hub.Hub._flush",
        "keisei.feed.readers.Readers.close",
        "keisei.store.Database.close",
    ],
)
async def test_what_fails_to_close_does_not_change_how_a_run_ended(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(self: Any) -> None:
        raise ValueError("cannot close")

    async with Keisei(settings(tmp_path, steps=500), _learner=Learners()) as keisei:
        monkeypatch.setattr(broken, crash)
        with anyio.fail_after(10):
            assert (await keisei.wait()).kind == "finished"
    assert "closing the run failed" in caplog.text or "given up" in caplog.text
    (await to_thread.run_sync(RunDirectory.open, keisei.run.path)).close()  # not locked any more


async def test_what_was_given_up_is_told_by_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keisei.feed.supervise.PAUSES", (0.0, 0.0, 0.0))
    async with Keisei(
        settings(tmp_path), _learner=Learners(), sinks=[Sink(failures=999)]
    ) as keisei:
        assert keisei.status().degraded == ()
        await becomes(lambda: keisei.status().degraded)
        assert keisei.status().degraded == ("sink test: OSError: broken pipe; given up",)


async def test_a_database_that_is_written_again_is_no_longer_told_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True
    write = DatabaseSink.write

    async def shaky(sink: DatabaseSink, events: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        await write(sink, events)

    monkeypatch.setattr(DatabaseSink, "write", shaky)
    monkeypatch.setattr("keisei.feed.supervise.PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr("keisei.feed.sinks.RETRY_SECONDS", 0.02)
    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        await becomes(lambda: keisei.status().degraded)
        assert "No space left" in keisei.status().degraded[0]
        told = await to_thread.run_sync(keisei.history)
        alert = next(event for event in told if event["topic"] == "alert")
        assert "No space left" in alert["message"]
        assert "id" not in alert
        states = [event["event"] for event in told if event["topic"] == "status"]
        assert states[-3:] == ["running", "compiling", "started"]
        full = False
        await becomes(lambda: not keisei.status().degraded)
        await keisei.checkpoint()
        await anyio.sleep(0.1)
        told = await to_thread.run_sync(keisei.history)
        states = [event["event"] for event in told if event["topic"] == "status" and "id" in event]
        assert states[-3:] == ["running", "compiling", "started"]


async def test_a_database_that_cannot_be_read_does_not_hide_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: Any) -> None:
        raise DatabaseError("keisei.db: damaged")

    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        keisei.alert("database", "error", "it is damaged")
        monkeypatch.setattr(RunReader, "events", damaged)
        await until(keisei, Iteration)
        told = await to_thread.run_sync(keisei.history)
        assert "it is damaged" in [event["message"] for event in told]
        with pytest.raises(DatabaseError):
            await to_thread.run_sync(keisei.history, 100, 7)


@pytest.mark.parametrize("leave", [True, False])
async def test_a_stop_waits_for_a_compile_only_if_the_program_goes_on(
    leave: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keisei.runtime.life.COMPILE_SECONDS", 0.1)
    learners = Learners(warm_up_seconds=1.5)
    keisei = Keisei(settings(tmp_path), _learner=learners, leave_compile=leave)
    async with keisei:
        events = keisei.events()
        await becomes(lambda: learners.made)
        keisei.stop()
        assert (await keisei.wait()).kind == "stopped"
        assert learners.made[0].env.closed is not leave
        assert [e.event async for e in events if isinstance(e, Status)][-1] == "stopped"
    assert keisei.left_behind is leave
    await becomes(lambda: learners.made[0].env.closed)


async def test_a_failed_runs_tensors_are_let_go(tmp_path: Path) -> None:
    import weakref

    error = ValueError("kept by somebody, and with it the frames it passed")
    kept: list[Any] = []

    class Big:
        pass

    def on_turn(learner: FakeLearner, turn: int) -> None:
        big = Big()
        kept.append(weakref.ref(big))
        raise error

    keisei = Keisei(settings(tmp_path), _learner=Learners(on_turn=on_turn))
    with pytest.raises(TrainingFailed):
        async with keisei:
            await keisei.wait()
            assert error.__traceback__ is not None
            assert kept[0]() is None


async def test_what_keeps_a_run_from_starting_is_raised_on_entering(tmp_path: Path) -> None:
    async with Keisei(settings(tmp_path), _learner=Learners()) as first:
        again = Keisei(settings(tmp_path), run=first.run.path, resume=True, _learner=Learners())
        with pytest.raises(RunLockedError, match=str(os.getpid())):
            async with again:
                raise AssertionError("entered a locked run")
        await until(first, Iteration)  # unharmed


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ({"strategy": "best"}, "evaluation.strategy: one of single"),
        (
            {"opponents": ["materail"]},
            "evaluation.opponents: materail: no such file or folder, did",
        ),
        ({"opponents": ["fairi"], "engines": {"fairy": "usi:x?nodes=1"}}, "did you mean fairy?"),
        ({"engines": {"a": "usi:x?nodes=many"}}, "evaluation.engines.a: nodes: a whole number"),
    ],
)
async def test_evaluations_that_could_not_begin_are_refused_at_once(
    tmp_path: Path, evaluation: dict[str, Any], said: str
) -> None:
    wrong = Settings(run=Run(root=tmp_path), evaluation=evaluation)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=said):
        async with Keisei(wrong, _learner=Learners()):
            raise AssertionError("entered")
    assert await anyio.to_thread.run_sync(os.listdir, tmp_path) == []


async def test_a_resumed_run_shows_what_it_has_before_it_does_anything(tmp_path: Path) -> None:
    async with Keisei(settings(tmp_path), _learner=Learners()) as first:
        await until(first, Iteration)
        await first.evaluate(EvaluationSpec(opponents=("random",), games=2, max_ply=4))
        ended = await until(first, Evaluation, state="done")
        await until(first, Iteration)
        measured = first.evaluation(ended.id)["result"]["agent"]  # type: ignore[index]
        assert int(measured.removeprefix(f"{first.run.id}@")) > 0
    last = first.status()
    again = Keisei(
        settings(tmp_path), run=first.run.path, resume=True, _learner=Learners(warm_up_seconds=0.3)
    )
    async with again:
        now = again.status()
        assert now.state in {"starting", "compiling"}
        assert (now.step, now.iteration) == (last.step, last.iteration)
        assert now.checkpoint == last.checkpoint == last.step
        assert now.elapsed == pytest.approx(last.elapsed, abs=0.5)
        assert now.elapsed > 0
        assert now.checkpoint_age is not None
        assert 0 < now.checkpoint_age < 60
        (kept,), (known,) = again.evaluations(), first.evaluations()
        assert [kept[k] for k in ("id", "state", "result", "games")] == [
            known[k] for k in ("id", "state", "result", "games")
        ]
        again.cancel_evaluation(ended.id)  # it has ended
        event = await until(again, Iteration)
        assert "eval/score" not in event.values
        assert again.status().elapsed > now.elapsed


async def test_the_newest_evaluations_score_is_a_metric(tmp_path: Path) -> None:
    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        await keisei.evaluate(EvaluationSpec(opponents=("random",), games=2, max_ply=4))
        await until(keisei, Evaluation, state="done")
        event = await until(keisei, Iteration)
        assert event.values["eval/score"] == 0.5  # games that are cut count half


async def test_initial_weights_of_another_network_are_refused_before_there_is_a_run(
    tmp_path: Path,
) -> None:
    def make() -> Path:
        wanted = settings(tmp_path)
        with RunDirectory.create(wanted, tmp_path / "other") as run:
            weights = {"weights": {"w": torch.tensor([1.0])}}
            good = {"net": wanted.net.model_dump()}
            save_checkpoint(run, 1, weights, good)
            path = save_checkpoint(run, 2, weights, good)
            (path / "weights.safetensors").write_bytes(b"x")
        with RunDirectory.create(wanted, tmp_path / "bigger") as run:
            bad = {"net": wanted.net.model_dump() | {"channels": 64}}
            save_checkpoint(run, 1, weights, bad)
        return tmp_path

    await to_thread.run_sync(make)
    keisei = Keisei(settings(tmp_path / "runs"), init=tmp_path / "bigger", _learner=Learners())
    with pytest.raises(CheckpointError, match=r"'channels': 64.*'channels': 32"):
        async with keisei:
            raise AssertionError("entered")
    assert not await anyio.Path(tmp_path / "runs").exists()
    keisei = Keisei(settings(tmp_path / "runs"), init=tmp_path / "other", _learner=Learners())
    async with keisei:
        alert = await until(keisei, Alert)
        assert "refused" in alert.message
        assert "damaged" in alert.message


# ---------------------------------------------------------------------- opened and closed elsewhere
async def test_a_run_is_started_in_one_task_and_closed_in_another(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path), _learner=Learners())
    assert await asyncio.create_task(keisei.start()) is keisei
    await asyncio.create_task(until(keisei, Iteration))
    await asyncio.create_task(keisei.aclose())
    assert keisei.status().state == "stopped"
    assert (await saved(keisei))[-1] > 0
    await keisei.aclose()  # again if you like
    with pytest.raises(NotRunning):
        await keisei.start()


async def test_what_keeps_a_run_from_starting_is_raised_by_start(tmp_path: Path) -> None:
    async with Keisei(settings(tmp_path), run=tmp_path / "run", _learner=Learners()):
        other = Keisei(settings(tmp_path), run=tmp_path / "run", resume=True, _learner=Learners())
        with pytest.raises(RunLockedError):
            await other.start()
        await other.aclose()


async def test_closing_tells_once_that_training_failed(tmp_path: Path) -> None:
    keisei = await Keisei(settings(tmp_path), _learner=Learners(on_turn=raising(1))).start()
    await until(keisei, Failed)
    await anyio.sleep(0.05)  # nothing is cancelled
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


def test_a_program_that_ends_without_closing_loop_and_run_is_not_held_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ABANDON, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, check=False, timeout=40)
    assert done.returncode == 0
    assert find_checkpoint(next(tmp_path.iterdir()))[0].name.lstrip("0")


async def test_a_run_that_is_stopped_before_it_is_opened_ends_at_once(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path), _learner=Learners())
    keisei.stop()
    async with keisei:
        assert (await keisei.wait()).kind == "stopped"


# ---------------------------------------------------------------------- sinks
class Sink:
    name = "test"

    def __init__(self, failures: int = 0, delay: float = 0.0) -> None:
        self.failures, self.delay = failures, delay
        self.events: list[Event] = []
        self.closed = False

    async def write(self, events: Any) -> None:
        await anyio.sleep(self.delay)
        if self.failures:
            self.failures -= 1
            raise OSError("broken pipe")
        self.events += events

    async def close(self) -> None:
        self.closed = True


async def test_a_sink_that_raises_is_started_again_and_misses_nothing(tmp_path: Path) -> None:
    sink = Sink(failures=1)
    async with Keisei(settings(tmp_path, steps=1000), _learner=Learners(), sinks=[sink]) as keisei:
        alert = await until(keisei, Alert, name="sink test")
        assert "broken pipe" in alert.message
        await keisei.wait()
    assert sink.closed
    assert [e.step for e in sink.events if isinstance(e, Iteration)] == list(range(100, 1001, 100))


async def test_a_sink_that_is_beyond_help_does_not_stop_training(tmp_path: Path) -> None:
    async with Keisei(
        settings(tmp_path, steps=500), _learner=Learners(), sinks=[Sink(failures=999)]
    ) as keisei:
        with anyio.fail_after(10):
            assert (await keisei.wait()).kind == "finished"


async def test_crashes_far_apart_never_end_a_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shaky(Sink):
        tries = 0

        async def write(self, events: Any) -> None:
            self.tries += 1
            self.failures = self.tries % 2
            await super().write(events)

    monkeypatch.setattr("keisei.feed.supervise.PAUSES", (0.0, 0.0, 0.0))
    sink = Shaky()
    async with Keisei(settings(tmp_path, steps=2000), _learner=Learners(), sinks=[sink]) as keisei:
        await keisei.wait()
    assert sink.closed
    assert sum(isinstance(event, Iteration) for event in sink.events) == 20


async def test_the_database_is_written_again_once_the_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 6
    write = DatabaseSink.write

    async def full(sink: DatabaseSink, events: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError(28, "No space left on device")
        await write(sink, events)

    monkeypatch.setattr(DatabaseSink, "write", full)
    monkeypatch.setattr("keisei.feed.supervise.PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr("keisei.feed.sinks.RETRY_SECONDS", 0.02)
    async with Keisei(settings(tmp_path, steps=1000), _learner=Learners()) as keisei:
        alerts = [event async for event in keisei.events({"alert"}) if isinstance(event, Alert)]
        await keisei.wait()
    assert ["starting again" in alert.message for alert in alerts] == [True, True, True, False]
    series = (await to_thread.run_sync(RunReader(keisei.run.path).metrics))["series"]
    assert series["train/kl"]["step"] == list(range(100, 1001, 100))


async def test_a_disk_that_stays_full_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(sink: DatabaseSink, events: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DatabaseSink, "write", full)
    monkeypatch.setattr("keisei.feed.supervise.PAUSES", (0.0, 0.0, 0.0))
    async with Keisei(settings(tmp_path, steps=500), _learner=Learners()) as keisei:
        with anyio.fail_after(5):
            assert (await keisei.wait()).kind == "finished"


async def test_a_sink_that_hangs_is_told_once_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Keisei(settings(tmp_path), _learner=Learners(), sinks=[Sink(delay=1e6)]) as keisei:
        hanging = keisei._life._feeds[-1]
        hanging._box._limit = 3
        alerts: list[Alert] = []
        with anyio.move_on_after(0.5):
            async for event in keisei.events({"alert"}):
                assert isinstance(event, Alert)
                alerts.append(event)
        assert [alert.name for alert in alerts] == ["sink test"]
        assert hanging.dropped > 1
        monkeypatch.setattr("keisei.runtime.life.CLOSE_SECONDS", 0.1)


async def test_a_slow_sink_holds_up_nobody(tmp_path: Path) -> None:
    sink = Sink(delay=0.3)
    async with Keisei(settings(tmp_path), _learner=Learners(), sinks=[sink]) as keisei:
        begin = time.monotonic()
        for _ in range(5):
            await until(keisei, Iteration)
        assert time.monotonic() - begin < 1


# ---------------------------------------------------------------------- hosts
async def test_a_slow_reader_of_events_gets_reset(tmp_path: Path) -> None:
    learners = Learners(turns=1, seconds=0.0005)
    async with Keisei(settings(tmp_path, steps=60_000), _learner=learners) as keisei:
        events = keisei.events()
        await keisei.wait()
        got = [event async for event in events]
    assert isinstance(got[0], Reset)
    assert got[-1].event == "finished"


async def test_two_in_one_process(tmp_path: Path) -> None:
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


async def test_two_runs_give_the_threads_back_as_the_host_had_them(tmp_path: Path) -> None:
    def fresh() -> int:  # what torch would give a thread of the host's that starts now
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    before = await to_thread.run_sync(fresh)
    number = before + 1
    wanted = settings(tmp_path).model_copy(update={"compute": Compute(threads=number)})
    async with (
        Keisei(wanted, _learner=Learners()) as first,
        Keisei(wanted, _learner=Learners()) as second,
    ):
        await until(first, Iteration)
        await until(second, Iteration)
        assert await to_thread.run_sync(fresh) == number
        first.stop()
        await first.wait()
    assert await to_thread.run_sync(fresh) == torch.get_num_threads() == before


async def test_it_can_be_entered_only_once(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path, steps=100), _learner=Learners())
    with pytest.raises(NotRunning, match="not open"):
        keisei.status()
    async with keisei:
        pass
    with pytest.raises(NotRunning, match="only once"):
        async with keisei:
            pass


async def test_cancelled_at_any_moment_it_leaves_nothing_behind(tmp_path: Path) -> None:
    """The host is cancelled after every possible number of loop turns, and then some times."""

    async def host(learners: Learners) -> None:
        async with (
            Keisei(settings(tmp_path, steps=300), _learner=learners) as keisei,
            subscribed(keisei, []) as chunks,
        ):
            async for _ in keisei.events():
                pass
            async for _ in chunks:
                pass

    async def turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    waits: list[Callable[[], Any]] = [partial(turns, n) for n in range(0, 40, 4)]
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


def test_entering_changes_nothing_of_the_process(tmp_path: Path) -> None:
    import logging
    import signal
    import sys

    import torch

    def picture() -> list[object]:
        return [
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            list(logging.getLogger().handlers),
            logging.getLogger().level,
            sys.getswitchinterval(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(),
        ]

    async def host() -> None:
        before = picture()
        async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
            await until(keisei, Iteration)
            assert picture() == before
        assert picture() == before

    anyio.run(host)
