"""What a run does when a detector raises an alert: it goes back to good weights, or stops."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from fake_learner import FakeLearner
from run_tools import Learners, detector_settings

from keisei import Alert, Keisei, Settings, TrainingFailed
from keisei.feed.outbox import Outbox
from keisei.ppo.detectors import DivergedError, Finding
from keisei.ppo.ranks import ALONE
from keisei.runtime import rollback
from keisei.runtime.emitter import Emitter
from keisei.runtime.rollback import GoodCheckpoints, Rollback
from keisei.store import RunDirectory, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.anyio


def finding(reaction: Any, *iterations: int) -> Callable[[int], tuple[Finding, ...]]:
    """Return the ``alerts`` of a fake learner whose draws are too many in these iterations."""
    alert = Finding("draws", "warning", "too many", reaction)
    return lambda iteration: (alert,) if iteration in iterations else ()


async def train(
    settings: Settings, alerts: Callable[[int], tuple[Finding, ...]], *, resume: bool = False
) -> tuple[FakeLearner, list[tuple[str, str]]]:
    """Train to the end. Return the learner, and the name and message of each alert."""
    learners = Learners(alerts=alerts)
    async with Keisei(settings, resume=resume, _learner=learners) as session:
        events = [event async for event in session.events() if isinstance(event, Alert)]
        await session.wait()
    return learners.made[0], [(alert.name, alert.message) for alert in events]


async def test_a_rollback_takes_the_newest_weights_at_which_nothing_was_wrong(
    tmp_path: Path,
) -> None:
    # The alert comes with iteration 4; the checkpoint of iteration 3 was saved before.
    learner, alerts = await train(detector_settings(tmp_path), finding("rollback", 4))
    assert learner.went_back_to == [300]
    assert alerts == [
        ("draws", "too many"),
        ("rollback", "draws: training went back to the weights of step 300"),
    ]
    assert learner.step == 800, "the step goes on"


async def test_good_weights_are_kept_however_long_the_problem_lasts(tmp_path: Path) -> None:
    def problem(iteration: int) -> tuple[Finding, ...]:
        reaction: Any = "rollback" if iteration == 9 else "alert"
        return (Finding("draws", "warning", "too many", reaction),) if iteration >= 4 else ()

    await train(keeping(2, 600, tmp_path), problem)
    learner, _ = await train(keeping(2, 1000, tmp_path), problem, resume=True)
    assert learner.went_back_to == [300]


def keeping(checkpoints: int, steps: int, root: Path) -> Settings:
    """Return settings that keep so many checkpoints and train to so many steps."""
    settings = detector_settings(root)
    run = settings.run.model_copy(update={"checkpoints_kept": checkpoints, "steps": steps})
    return settings.model_copy(update={"run": run})


@pytest.mark.parametrize("kept", [1, 20])
async def test_a_problem_that_shows_late_goes_back_to_weights_that_are_proven_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: int
) -> None:
    # On trial are iteration 1, proven by 5; then 5, proven by 9; then 9, which led to the problem
    # of iteration 12.
    monkeypatch.setattr(rollback, "LOOKS_BACK", 4)
    await train(keeping(kept, 700, tmp_path), finding("rollback", 12))
    learner, _ = await train(
        keeping(kept, 1200, tmp_path), finding("rollback", 12, 14), resume=True
    )
    assert learner.went_back_to == [500]
    learner, _ = await train(
        keeping(kept, 1500, tmp_path), finding("rollback", 12, 14), resume=True
    )
    assert learner.went_back_to == [500], "what led to the problem was taken for proven"


def test_a_checkpoint_on_trial_when_a_problem_shows_is_not_proven_good(tmp_path: Path) -> None:
    with closing(RunDirectory.create(detector_settings(tmp_path))) as directory:
        good = GoodCheckpoints(directory)
        good.saved(100, {"iteration": 1, "quiet": True})
        assert good.find("draws") == (None, [])
        later = 1 + rollback.LOOKS_BACK
        good.saved(900, {"iteration": later, "quiet": True})
        assert good.state()["proven"] is None
        good.saved(1900, {"iteration": 2 * later, "quiet": True})
        assert good.state()["proven"] == 900


async def test_a_wrong_number_goes_back_to_the_newest_checkpoint_not_the_proven_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rollback, "LOOKS_BACK", 1)
    alert = Finding("ratio", "error", "off", "rollback")
    learner, _ = await train(detector_settings(tmp_path), lambda now: (alert,) if now == 6 else ())
    assert learner.went_back_to == [500]


async def test_the_reaction_alert_changes_nothing(tmp_path: Path) -> None:
    learner, alerts = await train(detector_settings(tmp_path), finding("alert", 4, 5))
    assert learner.went_back_to == []
    assert [name for name, _ in alerts] == ["draws", "draws"]


async def test_the_reaction_stop_ends_the_run_and_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"draws: too many \(detectors.draws = 'stop'\)"):
        await train(detector_settings(tmp_path), finding("stop", 4))


async def test_a_problem_that_comes_back_too_often_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="draws: no rollback is left"):
        await train(detector_settings(tmp_path, rollbacks=2), finding("rollback", 3, 4, 5))


async def test_rollbacks_of_earlier_processes_count(tmp_path: Path) -> None:
    def checkpoint(run: RunDirectory) -> Any:
        state = {"iteration": 1, "quiet": True, "rollbacks": 2}
        return load_checkpoint(
            save_checkpoint(run, 100, FakeLearner(run.settings).tensors(), state)
        )

    def make_run() -> RunDirectory:
        return RunDirectory.create(detector_settings(tmp_path))

    with closing(await to_thread.run_sync(make_run)) as run:
        found = await to_thread.run_sync(checkpoint, run)
        again = Rollback(run, 2, ALONE, Emitter(run.id, 100, Outbox()))
        again.resume(found)
        assert again.state()["rollbacks"] == 2
        with pytest.raises(DivergedError, match="draws: no rollback is left"):
            again.roll_back(FakeLearner(run.settings), "draws")  # type: ignore[arg-type]


async def test_without_a_good_checkpoint_the_run_ends(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="every checkpoint has a problem"):
        await train(detector_settings(tmp_path), finding("rollback", 1))
