"""Events of the device thread: speed, boards, and telemetry that fails."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from fake_learner import FakeLearner, FakeReport
from run_tools import Learners, settings

from keisei import Alert, Board, Game, Iteration, Keisei, Settings
from keisei.feed.outbox import Outbox
from keisei.ppo.detectors import Finding
from keisei.ppo.recorder import FinishedGame
from keisei.runtime import emitter as module
from keisei.runtime.emitter import Emitter
from keisei.runtime.share import Share

pytestmark = pytest.mark.anyio

ERRORS = (OSError(24, "Too many open files"), ImportError("No module named x"), KeyError("rss"))


def fails_with(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


async def train(tmp_path: Path) -> list[Any]:
    """Train for ten iterations of a learner that learns nothing. Return all events."""
    async with Keisei(settings(tmp_path, steps=1000), _learner=Learners(seconds=0.02)) as keisei:
        events = [event async for event in keisei.events()]
        assert (await keisei.wait()).kind == "finished"
    return events


@pytest.mark.parametrize("error", ERRORS)
async def test_training_goes_on_without_the_memory_metrics_if_they_cannot_be_read(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.Process.memory_info", fails_with(error))
    events = await train(tmp_path)
    iterations = [event for event in events if isinstance(event, Iteration)]
    assert len(iterations) == 10
    assert not any("system/rss_bytes" in event.values for event in iterations)
    assert all("speed/steps_per_second" in event.values for event in iterations)
    (alert,) = (event for event in events if isinstance(event, Alert))
    assert (alert.name, alert.level) == ("telemetry", "warning")
    assert alert.message == f"memory is not shown: {type(error).__name__}: {error}"


@pytest.mark.parametrize("error", ERRORS)
async def test_training_goes_on_without_boards_if_they_cannot_be_made(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeLearner, "board", fails_with(error))
    events = await train(tmp_path)
    assert not any(isinstance(event, Board) for event in events)
    assert sum(isinstance(event, Iteration) for event in events) == 10
    assert sum(isinstance(event, Alert) for event in events) == 1


def report(step: int, iteration: int, *alerts: Finding) -> Any:
    return FakeReport(step, iteration, {"train/kl": 0.01}, alerts=alerts)


async def send(emitter: Emitter, report: Any, share: Share) -> None:
    """Send the events of an iteration in a thread, because reading the memory blocks."""
    await to_thread.run_sync(emitter.iteration, report, share, "cpu")


async def test_speed_counts_from_the_end_of_the_iteration_before() -> None:
    outbox, share = Outbox(), Share(0.5)
    emitter = Emitter("run", 1000, outbox)
    emitter.start(1000)
    share.trained(1.0)
    await send(emitter, report(1100, 1), share)
    share.trained(1.5)
    share.evaluated(0.5)
    await send(emitter, report(1300, 2), share)
    first, second = (e for e in await outbox.drain() if isinstance(e, Iteration))
    assert first.values["speed/steps_per_second"] == 100
    assert first.values["speed/share_evaluation"] == 0
    assert second.values["speed/steps_per_second"] == 100
    assert second.values["speed/share_evaluation"] == 0.25


async def test_the_alerts_of_an_iteration_follow_it_at_its_step() -> None:
    outbox, share = Outbox(), Share(0.5)
    emitter = Emitter("run", 0, outbox)
    share.trained(1.0)
    await send(emitter, report(100, 1, Finding("draws", "warning", "too many")), share)
    iteration, alert = await outbox.drain()
    assert isinstance(iteration, Iteration)
    assert isinstance(alert, Alert)
    assert (alert.step, alert.name, alert.level) == (100, "draws", "warning")


async def test_games_come_before_their_iteration_because_a_save_waits_for_the_iteration() -> None:
    outbox, share = Outbox(), Share(0.5)
    share.trained(1.0)
    ended = FinishedGame(7, "draw", "repetition", 80, "startpos")
    await send(Emitter("run", 0, outbox), replace(report(100, 1), games=(ended,)), share)
    game, iteration = await outbox.drain()
    assert isinstance(game, Game)
    assert isinstance(iteration, Iteration)


async def test_boards_are_sent_at_most_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, learner = Outbox(), FakeLearner(Settings())
    emitter = Emitter("run", 0, outbox)
    emitter.board(learner)  # type: ignore[arg-type]
    emitter.board(learner)  # type: ignore[arg-type]
    assert len(await outbox.drain()) == 1
    monkeypatch.setattr(module, "BOARD_SECONDS", 0.0)
    often = Emitter("run", 0, outbox)
    often.board(learner)  # type: ignore[arg-type]
    often.board(learner)  # type: ignore[arg-type]
    assert len(await outbox.drain()) == 2
