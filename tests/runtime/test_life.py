"""What runs on the event loop: parts that crash, sinks, the order of closing."""
# ruff: noqa: PT012 (what raises is the end of the `async with`, so its body must be inside)

import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from run_tools import Learners, Sink, becomes, raising, saved, settings, until

from keisei import Alert, Failed, Iteration, Keisei, NotRunning, Status, TrainingFailed
from keisei.events import Event
from keisei.feed.sinks import DatabaseSink
from keisei.store import (
    RunDirectory,
    RunReader,
)

pytestmark = pytest.mark.anyio


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


async def test_kept_serving_a_failed_run_still_answers(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path), _learner=Learners(on_turn=raising(1)), keep_serving=True)
    with pytest.raises(TrainingFailed):
        async with keisei:
            await until(keisei, Failed)
            await anyio.sleep(0.05)
            assert keisei.status().state == "failed"
            assert "not finite" in keisei.status().message
            async with keisei.subscribe([]) as chunks:
                assert b'"state":"failed"' in await anext(chunks)
                with anyio.move_on_after(0.6) as waiting:
                    async for _ in chunks:
                        pass
                assert waiting.cancelled_caught, "the stream did not stay open"
            with pytest.raises(NotRunning):
                await keisei.pause()
            keisei.stop()
            await keisei.wait()


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
