"""What a run does when a detector raises an alert: it goes back to good weights, or stops."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_learner import FakeLearner
from run_tools import detector_settings

from keisei import Alert, Keisei, Settings, TrainingFailed
from keisei.ppo.detectors import Finding
from keisei.runtime import rollback
from keisei.store import (
    RunDirectory,
)

pytestmark = pytest.mark.anyio


def complaining(reaction: Any, *iterations: int) -> Callable[[int], tuple[Finding, ...]]:
    alert = Finding("draws", "warning", "too many", reaction)
    return lambda iteration: (alert,) if iteration in iterations else ()


async def run(
    settings: Settings, alerts: Callable[[int], tuple[Finding, ...]], *, resume: bool = False
) -> Any:
    """The learner and the alerts that were told."""
    made: list[FakeLearner] = []

    def build(settings: Settings) -> FakeLearner:
        made.append(FakeLearner(settings, alerts=alerts))
        return made[-1]

    async with Keisei(settings, resume=resume, _learner=build) as session:
        told = [event async for event in session.events() if isinstance(event, Alert)]
        await session.wait()
    return made[0], [(alert.name, alert.message) for alert in told]


async def test_a_rollback_takes_the_newest_weights_at_which_nothing_was_wrong(
    tmp_path: Path,
) -> None:
    # the complaint comes with iteration 4: the checkpoint of iteration 3 was saved before it
    learner, told = await run(detector_settings(tmp_path), complaining("rollback", 4))
    assert learner.went_back_to == [300]
    assert told == [("draws", "too many"), ("rollback", "draws: back to the weights of step 300")]
    assert learner.step == 800, "the step goes on"


async def test_good_weights_are_kept_however_long_the_trouble_lasts(tmp_path: Path) -> None:
    def trouble(iteration: int) -> tuple[Finding, ...]:
        reaction: Any = "rollback" if iteration == 9 else "alert"
        return (Finding("draws", "warning", "too many", reaction),) if iteration >= 4 else ()

    def few(steps: int) -> Settings:
        told = detector_settings(tmp_path)
        kept = told.run.model_copy(update={"checkpoints_kept": 2, "steps": steps})
        return told.model_copy(update={"run": kept})

    await run(few(600), trouble)
    learner, _ = await run(few(1000), trouble, resume=True)
    assert learner.went_back_to == [300]


@pytest.mark.parametrize("kept", [1, 20])
async def test_trouble_that_was_long_in_coming_goes_back_to_weights_that_had_proven_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: int
) -> None:
    # on trial: iteration 1, proven by 5; 5, proven by 9; 9, which led to the trouble of iteration 12
    monkeypatch.setattr(rollback, "LOOKS_BACK", 4)

    def few(steps: int) -> Settings:
        told = detector_settings(tmp_path)
        kept_few = told.run.model_copy(update={"checkpoints_kept": kept, "steps": steps})
        return told.model_copy(update={"run": kept_few})

    await run(few(700), complaining("rollback", 12))
    learner, _ = await run(few(1200), complaining("rollback", 12, 14), resume=True)
    assert learner.went_back_to == [500]
    learner, _ = await run(few(1500), complaining("rollback", 12, 14), resume=True)
    assert learner.went_back_to == [500], (
        "again: what was on trial at the time is not proven by now"
    )


def test_what_was_on_trial_when_trouble_came_proves_nothing(tmp_path: Path) -> None:
    with closing(RunDirectory.create(detector_settings(tmp_path))) as directory:
        good = rollback.GoodCheckpoints(directory)
        good.saved(100, {"iteration": 1, "quiet": True})
        assert good.find("draws") == (None, [])
        later = 1 + rollback.LOOKS_BACK
        good.saved(900, {"iteration": later, "quiet": True})
        assert good.state()["proven"] is None
        good.saved(1900, {"iteration": 2 * later, "quiet": True})
        assert good.state()["proven"] == 900


async def test_a_wrong_number_is_told_at_once_and_loses_little(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rollback, "LOOKS_BACK", 1)
    alert = Finding("ratio", "error", "off", "rollback")
    learner, _ = await run(detector_settings(tmp_path), lambda now: (alert,) if now == 6 else ())
    assert learner.went_back_to == [500]


async def test_an_alert_alone_changes_nothing(tmp_path: Path) -> None:
    learner, told = await run(detector_settings(tmp_path), complaining("alert", 4, 5))
    assert learner.went_back_to == []
    assert [name for name, _ in told] == ["draws", "draws"]


async def test_stop_ends_the_run_and_says_which_setting_asked_for_it(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"draws: too many \(detectors.draws = 'stop'\)"):
        await run(detector_settings(tmp_path), complaining("stop", 4))


async def test_what_keeps_coming_back_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="draws: came back after 2 rollbacks"):
        await run(detector_settings(tmp_path, rollbacks=2), complaining("rollback", 3, 4, 5))


async def test_without_a_good_checkpoint_the_run_ends(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="no checkpoint is left at which nothing was wrong"):
        await run(detector_settings(tmp_path), complaining("rollback", 1))
