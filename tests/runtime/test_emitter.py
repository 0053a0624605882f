"""Events of the device thread: telemetry that fails never ends a run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_learner import FakeLearner

from keisei import Alert, Board, Iteration, Keisei, Settings
from keisei.config import Run

pytestmark = pytest.mark.anyio


ERRORS = (OSError(24, "Too many open files"), ImportError("No module named x"), KeyError("rss"))


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


async def run(tmp_path: Path) -> list[Any]:
    """Train for ten iterations of a learner that learns nothing; all events."""
    settings = Settings(run=Run(root=tmp_path, steps=1000))
    learner = partial(FakeLearner, seconds=0.02)
    async with Keisei(settings, _learner=learner) as keisei:
        events = [event async for event in keisei.events()]
        assert (await keisei.wait()).kind == "finished"
    return events


@pytest.mark.parametrize("error", ERRORS)
async def test_training_goes_on_without_the_memory_metrics_if_they_cannot_be_read(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.Process.memory_info", raising(error))
    events = await run(tmp_path)
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
    monkeypatch.setattr(FakeLearner, "board", raising(error))
    events = await run(tmp_path)
    assert not any(isinstance(event, Board) for event in events)
    assert sum(isinstance(event, Iteration) for event in events) == 10
    assert sum(isinstance(event, Alert) for event in events) == 1
