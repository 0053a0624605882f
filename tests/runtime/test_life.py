"""What runs on the event loop: parts that crash, sinks, the order of closing."""
# ruff: noqa: PT012 (what raises is the end of the `async with`, so its body must be inside)

import asyncio
import threading
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from fake_learner import FakeLearner
from run_tools import Learners, Sink, becomes, raising, saved, settings, subscribed, until

from keisei import (
    Alert,
    BlockingSink,
    Callback,
    Failed,
    Iteration,
    Keisei,
    NotRunning,
    Settings,
    Status,
    TrainingFailed,
)
from keisei.feed.outbox import KEPT
from keisei.feed.sinks import DatabaseSink, Feed
from keisei.runtime.regular import RegularEvaluations
from keisei.store import RunDirectory, RunReader

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
    # 100 steps take 4 turns of 5 ms, so 5,000 steps a second at most
    assert all(500 < value < 5000 for value in series["speed/steps_per_second"]["value"])
    assert min(series["system/rss_bytes"]["value"]) > 1e7


# ---------------------------------------------------------------------- keep_serving
async def test_a_run_that_keeps_serving_stays_up_after_the_end(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path, steps=200), _learner=Learners(), keep_serving=True)
    async with keisei:
        await until(keisei, Status, kind="finished")
        await becomes(lambda: keisei.status().phase == "idle")
        with pytest.raises(NotRunning, match="finished"):
            await keisei.pause()
        keisei.stop()
        assert (await keisei.wait()).kind == "finished"


async def test_a_failed_run_that_keeps_serving_still_answers(tmp_path: Path) -> None:
    keisei = Keisei(settings(tmp_path), _learner=Learners(on_turn=raising(1)), keep_serving=True)
    with pytest.raises(TrainingFailed):
        async with keisei:
            await until(keisei, Failed)
            await becomes(lambda: keisei.status().phase == "ended")
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


# ---------------------------------------------------------------------- crashes
async def test_a_crash_of_the_stream_does_not_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(self: Any) -> None:
        raise ValueError("telemetry")

    monkeypatch.setattr("keisei.feed.hub.Hub.run", crash)
    async with Keisei(settings(tmp_path, steps=500), _learner=Learners()) as keisei:
        alert = await until(keisei, Alert, name="stream")
        assert "telemetry" in alert.message
        assert (await keisei.wait()).kind == "finished"


def crash_of_the_pump(self: RegularEvaluations, step: int) -> None:
    """Raise where the pump hands on the events of an iteration."""
    raise ValueError("pump")


async def test_a_crash_of_the_pump_stops_the_device_thread_and_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = Learners()
    with pytest.raises(TrainingFailed, match="pump"):
        async with Keisei(settings(tmp_path), _learner=learners) as keisei:
            monkeypatch.setattr(RegularEvaluations, "reached", crash_of_the_pump)
            with anyio.fail_after(10):
                await keisei.wait()
            assert learners.made[0].env.closed
            assert keisei.status().state == "failed"


async def test_after_a_crash_of_the_pump_a_run_that_keeps_serving_saves_and_stays_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = Learners()
    with pytest.raises(TrainingFailed, match="pump"):
        async with Keisei(settings(tmp_path), _learner=learners, keep_serving=True) as keisei:
            await until(keisei, Iteration)
            monkeypatch.setattr(RegularEvaluations, "reached", crash_of_the_pump)
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
async def test_a_part_that_fails_to_close_does_not_change_how_a_run_ended(
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


# ---------------------------------------------------------------------- leave_compile
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


async def test_a_stop_always_waits_for_an_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keisei.runtime.life.COMPILE_SECONDS", 0.0)
    inside, gate = threading.Event(), threading.Event()

    def on_turn(learner: FakeLearner, turn: int) -> None:
        inside.set()
        gate.wait(5)

    learners = Learners(on_turn=on_turn)
    async with Keisei(settings(tmp_path), _learner=learners, leave_compile=True) as keisei:
        await to_thread.run_sync(inside.wait, 5)
        keisei.stop()
        with anyio.move_on_after(0.3) as waiting:
            await keisei.wait()
        assert waiting.cancelled_caught, "the run ended though its device thread trained"
        gate.set()
        await keisei.wait()
        assert learners.made[0].env.closed
    assert not keisei.left_behind


# ---------------------------------------------------------------------- sinks
async def test_the_status_names_a_sink_that_was_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keisei.feed.supervise.PAUSES", (0.0, 0.0, 0.0))
    async with Keisei(
        settings(tmp_path), _learner=Learners(), sinks=[Sink(failures=999)]
    ) as keisei:
        assert keisei.status().degraded == ()
        await becomes(lambda: keisei.status().degraded)
        assert keisei.status().degraded == ("sink test: OSError: broken pipe; given up",)


async def test_the_status_names_a_database_only_while_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True
    write = DatabaseSink.write

    async def shaky(sink: DatabaseSink, events: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        await write(sink, events)

    async def states(*, in_database: bool) -> list[str]:
        """Return the oldest three states that the history holds, newest first."""
        rows = await to_thread.run_sync(keisei.history)
        kept = [
            row for row in rows if row["topic"] == "status" and ("id" in row or not in_database)
        ]
        return [row["event"] for row in kept][-3:]

    async def is_written() -> bool:
        return await states(in_database=True) == ["running", "compiling", "started"]

    monkeypatch.setattr(DatabaseSink, "write", shaky)
    monkeypatch.setattr("keisei.feed.supervise.PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr("keisei.feed.sinks.RETRY_SECONDS", 0.02)
    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        await becomes(lambda: keisei.status().degraded)
        assert "No space left" in keisei.status().degraded[0]
        history = await to_thread.run_sync(keisei.history)
        alert = next(event for event in history if event["topic"] == "alert")
        assert "No space left" in alert["message"]
        assert "id" not in alert
        assert await states(in_database=False) == ["running", "compiling", "started"]
        full = False
        await becomes(lambda: not keisei.status().degraded)
        await keisei.checkpoint()
        await becomes(is_written)


async def test_a_sink_that_raises_is_started_again_and_misses_nothing(tmp_path: Path) -> None:
    sink = Sink(failures=1)
    async with Keisei(settings(tmp_path, steps=1000), _learner=Learners(), sinks=[sink]) as keisei:
        alert = await until(keisei, Alert, name="sink test")
        assert "broken pipe" in alert.message
        await keisei.wait()
    assert sink.closed
    assert [e.step for e in sink.events if isinstance(e, Iteration)] == list(range(100, 1001, 100))


async def test_a_sink_that_always_raises_does_not_stop_training(tmp_path: Path) -> None:
    async with Keisei(
        settings(tmp_path, steps=500), _learner=Learners(), sinks=[Sink(failures=999)]
    ) as keisei:
        with anyio.fail_after(10):
            assert (await keisei.wait()).kind == "finished"


async def test_a_sink_that_raises_now_and_then_is_never_given_up(
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


async def test_a_disk_that_stays_full_does_not_delay_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(sink: DatabaseSink, events: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DatabaseSink, "write", full)
    monkeypatch.setattr("keisei.feed.supervise.PAUSES", (0.0, 0.0, 0.0))
    async with Keisei(settings(tmp_path, steps=500), _learner=Learners()) as keisei:
        with anyio.fail_after(5):
            assert (await keisei.wait()).kind == "finished"


class StuckSink(Sink):
    """Its first write does not end before ``gate`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = anyio.Event()

    async def write(self, events: Any) -> None:
        await self.gate.wait()
        await super().write(events)


async def test_events_that_a_stuck_sink_misses_give_one_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds: list[Feed] = []

    def make_feed(sink: Any) -> Feed:
        feeds.append(Feed(sink, kept=3 if isinstance(sink, StuckSink) else KEPT))
        return feeds[-1]

    monkeypatch.setattr("keisei.runtime.life.Feed", make_feed)
    monkeypatch.setattr("keisei.runtime.life.CLOSE_SECONDS", 0.1)
    async with Keisei(settings(tmp_path), _learner=Learners(), sinks=[StuckSink()]) as keisei:
        alerts = keisei.events({"alert"})
        await becomes(lambda: feeds[-1].dropped > 1)
    assert [event.name async for event in alerts if isinstance(event, Alert)] == ["sink test"]


async def test_training_does_not_wait_for_a_stuck_sink(tmp_path: Path) -> None:
    sink = StuckSink()
    async with Keisei(settings(tmp_path), _learner=Learners(), sinks=[sink]) as keisei:
        for _ in range(5):
            await until(keisei, Iteration)
        assert sink.events == []
        sink.gate.set()
    assert sink.closed
    assert sum(isinstance(event, Iteration) for event in sink.events) >= 5


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
async def test_a_sink_can_neither_end_the_program_nor_cancel_the_run(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keisei.feed.supervise.PAUSES", (0.0, 0.0, 0.0))

    class Rude(Sink):
        async def write(self, events: Any) -> None:
            raise error

    async with Keisei(settings(tmp_path, steps=500), _learner=Learners(), sinks=[Rude()]) as keisei:
        assert (await keisei.wait()).kind == "finished"
        assert keisei.status().step == 500


async def test_a_blocking_sink_that_hangs_does_not_keep_the_run_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("keisei.runtime.life.CLOSE_SECONDS", 0.1)
    gate = threading.Event()

    class Hanging(BlockingSink):
        name = "hanging"

        def write_blocking(self, events: Any) -> None:
            gate.wait(10)

    with anyio.fail_after(8):
        async with Keisei(
            settings(tmp_path, steps=300), _learner=Learners(), sinks=[Hanging()]
        ) as keisei:
            assert (await keisei.wait()).kind == "finished"
    gate.set()
    assert keisei.left_behind
    assert "abandoned a sink" in caplog.text
    stored = await to_thread.run_sync(RunReader(keisei.run.path).metrics)
    assert stored["series"]["train/kl"]["step"] == [100, 200, 300]


# ---------------------------------------------------------------------- callbacks
class Hooks(Callback):
    """Keeps the names of its calls; ``on_iteration`` always raises."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_start(self, event: Status) -> None:
        self.calls.append("start")

    async def on_iteration(self, event: Iteration) -> None:
        self.calls.append("iteration")
        raise ValueError("hook")

    def on_checkpoint(self, event: Status, path: Path) -> None:
        self.calls.append(f"checkpoint {path.name}")

    def on_end(self, event: Status) -> None:
        self.calls.append(event.kind)


async def test_a_run_calls_the_hooks_and_counts_those_that_fail(tmp_path: Path) -> None:
    hooks = Hooks()
    async with Keisei(
        settings(tmp_path, steps=300), _learner=Learners(), callbacks=[hooks]
    ) as keisei:
        alert = await until(keisei, Alert, name="callback Hooks")
        assert "on_iteration raised ValueError: hook" in alert.message
        assert (await keisei.wait()).kind == "finished"
    assert (hooks.calls[0], hooks.calls.count("iteration"), hooks.calls[-1]) == (
        "start",
        3,
        "finished",
    )
    assert "checkpoint 000000000300" in hooks.calls
    series = (await to_thread.run_sync(RunReader(keisei.run.path).metrics))["series"]
    assert 0 < series["system/callback_failures"]["value"][-1] <= 3


async def test_a_broken_plugin_is_an_alert_and_named_in_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("broken", "not_there:Sink", "keisei.sinks")
    monkeypatch.setattr(
        "keisei.plugins.entry_points", lambda group: EntryPoints([point]).select(group=group)
    )
    wanted = Settings.load(None, {"run.root": tmp_path, "plugins.sinks": "broken"})
    text = "it can't be built: ModuleNotFoundError: No module named 'not_there'"
    async with Keisei(wanted, _learner=Learners()) as keisei:
        await becomes(lambda: keisei.status().step)
        assert keisei.status().degraded == (f"sink broken: {text}",)
        history = await to_thread.run_sync(keisei.history)
        alerts = [event for event in history if event["event"] == "alert"]
        assert (alerts[-1]["name"], alerts[-1]["message"]) == ("sink broken", text)
