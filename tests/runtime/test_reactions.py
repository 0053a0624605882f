"""What a run does when a detector complains: go back to good weights, or stop."""

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch
from fake_learner import FakeLearner

import keisei
from keisei import Keisei, Settings, TrainingFailed
from keisei.ppo.detectors import Finding
from keisei.runtime import rollback
from keisei.store import NotFiniteError, RunDirectory

pytestmark = pytest.mark.anyio


def settings(path: Path, **detectors: Any) -> Settings:
    flags = {f"detectors.{name}": value for name, value in detectors.items()}
    always = {"run.root": path, "run.steps": 800, "run.checkpoint_seconds": 1e-6}
    return Settings.load(None, always | flags)


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
        told = [event async for event in session.events() if isinstance(event, keisei.Alert)]
        await session.wait()
    return made[0], [(alert.name, alert.message) for alert in told]


async def test_a_rollback_takes_the_newest_weights_at_which_nothing_was_wrong(
    tmp_path: Path,
) -> None:
    # the complaint comes with iteration 4: the checkpoint of iteration 3 was saved before it
    learner, told = await run(settings(tmp_path), complaining("rollback", 4))
    assert learner.went_back_to == [300]
    assert told == [("draws", "too many"), ("rollback", "draws: back to the weights of step 300")]
    assert learner.step == 800, "the step goes on"


async def test_good_weights_are_kept_however_long_the_trouble_lasts(tmp_path: Path) -> None:
    def trouble(iteration: int) -> tuple[Finding, ...]:
        reaction: Any = "rollback" if iteration == 9 else "alert"
        return (Finding("draws", "warning", "too many", reaction),) if iteration >= 4 else ()

    def few(steps: int) -> Settings:
        told = settings(tmp_path)
        kept = told.run.model_copy(update={"checkpoints_kept": 2, "steps": steps})
        return told.model_copy(update={"run": kept})

    await run(few(600), trouble)
    learner, _ = await run(few(1000), trouble, resume=True)
    assert learner.went_back_to == [300]


@pytest.mark.parametrize("kept", [1, 20])
async def test_trouble_that_was_long_in_coming_goes_back_to_weights_that_had_proven_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: int
) -> None:
    # on trial: iteration 1, proven by 5; 5, proven by 9; 9, which led to the trouble of iteration
    # 12
    monkeypatch.setattr(rollback, "LOOKS_BACK", 4)

    def few(steps: int) -> Settings:
        told = settings(tmp_path)
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
    with closing(RunDirectory.create(settings(tmp_path))) as directory:
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
    learner, _ = await run(settings(tmp_path), lambda now: (alert,) if now == 6 else ())
    assert learner.went_back_to == [500]


async def test_an_alert_alone_changes_nothing(tmp_path: Path) -> None:
    learner, told = await run(settings(tmp_path), complaining("alert", 4, 5))
    assert learner.went_back_to == []
    assert [name for name, _ in told] == ["draws", "draws"]


async def test_stop_ends_the_run_and_says_which_setting_asked_for_it(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"draws: too many \(detectors.draws = 'stop'\)"):
        await run(settings(tmp_path), complaining("stop", 4))


async def test_what_keeps_coming_back_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="draws: came back after 2 rollbacks"):
        await run(settings(tmp_path, rollbacks=2), complaining("rollback", 3, 4, 5))


async def test_without_a_good_checkpoint_the_run_ends(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="no checkpoint is left at which nothing was wrong"):
        await run(settings(tmp_path), complaining("rollback", 1))


# ---- weights or moments that are not finite when they are to be saved


class Spoilt(FakeLearner):
    """Its weights are NaN from an iteration on, until it goes back to others."""

    since = 4

    def tensors(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        bad = self.iteration >= self.since and not self.went_back_to
        return {"weights": {"w": torch.tensor([float("nan" if bad else self.step)])}}


async def spoilt(settings: Settings) -> tuple[Spoilt, Any, list[Any]]:
    """The learner, how the run ended, and the alerts and statuses that were told."""
    made: list[Spoilt] = []

    def build(settings: Settings) -> Spoilt:
        made.append(Spoilt(settings))
        return made[-1]

    outcome: Any = None
    told: list[Any] = []
    try:
        async with Keisei(settings, _learner=build) as session:
            told += [event async for event in session.events()]
            outcome = await session.wait()
    except TrainingFailed as failure:
        outcome = str(failure)
    return made[0], outcome, [e for e in told if isinstance(e, keisei.Alert | keisei.Status)]


def saved(told: list[Any]) -> list[int]:
    return [event.step for event in told if getattr(event, "kind", "") == "checkpoint"]


def alerts(told: list[Any]) -> list[str]:
    return [event.message for event in told if isinstance(event, keisei.Alert)]


async def test_weights_that_are_not_finite_are_not_saved_and_that_is_told_once(
    tmp_path: Path,
) -> None:
    _, outcome, told = await spoilt(settings(tmp_path))
    assert outcome.kind == "finished"
    assert saved(told) == [100, 200, 300]
    assert alerts(told) == ["no checkpoint at step 400: weights/w is not finite"]
    end = next(event for event in told if getattr(event, "kind", "") == "finished")
    assert end.message == ("weights/w is not finite: not saved; the last finite checkpoint stands")


async def test_so_many_saves_in_a_row_end_the_run(tmp_path: Path) -> None:
    _, outcome, told = await spoilt(settings(tmp_path, nonfinite_stop=3))
    assert "weights/w is not finite: 3 checkpoints in a row were not written" in outcome
    assert saved(told) == [100, 200, 300]


async def test_stop_ends_the_run_at_the_first_save(tmp_path: Path) -> None:
    _, outcome, _ = await spoilt(settings(tmp_path, nonfinite="stop"))
    assert "weights/w is not finite (detectors.nonfinite = 'stop')" in outcome


async def test_rollback_goes_back_to_finite_weights_and_saves_again(tmp_path: Path) -> None:
    learner, outcome, told = await spoilt(settings(tmp_path, nonfinite="rollback"))
    assert learner.went_back_to == [300]
    assert outcome.kind == "finished"
    assert saved(told) == [100, 200, 300, 500, 600, 700, 800]
    assert alerts(told) == [
        "no checkpoint at step 400: weights/w is not finite",
        "nonfinite: back to the weights of step 300",
    ]


async def test_a_rollback_passes_by_a_checkpoint_that_is_not_finite_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Old(Spoilt):
        """Saves what is not finite, as earlier versions did, until it complains."""

        def iterate(self) -> Any:
            report = yield from super().iterate()
            if self.iteration == 6:
                monkeypatch.undo()
            return report

    monkeypatch.setattr("keisei.store.checkpoints.first_not_finite", lambda tensors: None)
    chosen = settings(tmp_path, nonfinite="rollback")
    made: list[Old] = []

    def build(settings: Settings) -> Old:
        made.append(Old(settings))
        return made[-1]

    async with Keisei(chosen, _learner=build) as session:
        told = alerts([event async for event in session.events()])
    assert made[0].went_back_to == [300]
    refused = [message for message in told if message.startswith("refused: ")]
    assert len(refused) == 2
    assert "000000000500/weights.safetensors: weights/w is not finite" in refused[0]
    assert "000000000400/weights.safetensors: weights/w is not finite" in refused[1]


async def test_who_asks_for_a_checkpoint_is_told_why_there_is_none(tmp_path: Path) -> None:
    endless = Settings.load(None, {"run.root": tmp_path, "detectors.nonfinite_stop": 1000})
    async with Keisei(endless, _learner=Spoilt) as session:
        async for event in session.events():
            if isinstance(event, keisei.Iteration) and event.iteration > 4:
                break
        with pytest.raises(NotFiniteError, match="weights/w is not finite"):
            await session.checkpoint()
        session.stop()
        outcome = await session.wait()
    assert outcome.kind == "stopped"
    (path,) = await anyio.to_thread.run_sync(session.run.checkpoints)
    assert path.name == "000000000100"
