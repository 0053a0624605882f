"""Checkpoints of a run in progress: a full disk, and numbers that are not finite."""

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch
from anyio import to_thread
from fake_learner import FakeLearner
from run_tools import Learners, detector_settings, saved, settings, until

from keisei import Alert, Iteration, Keisei, Settings, TrainingFailed
from keisei.feed.outbox import Outbox
from keisei.feed.stored import Stored
from keisei.ppo.ranks import ALONE
from keisei.runtime.emitter import Emitter
from keisei.runtime.rollback import Rollback
from keisei.runtime.saving import Saver
from keisei.store import Database, NotFiniteError, RunDirectory, RunReader, save_checkpoint

pytestmark = pytest.mark.anyio


async def test_a_full_disk_gives_an_alert_and_training_goes_on(
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
        with anyio.fail_after(10), pytest.raises(OSError, match="No space left"):
            await keisei.checkpoint()
        await until(keisei, Iteration)
        full = False
        await keisei.checkpoint()
        assert await saved(keisei)


async def test_a_checkpoint_is_due_only_at_a_new_step(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    with closing(await to_thread.run_sync(RunDirectory.create, chosen)) as run:
        emitter = Emitter(run.id, 0, Outbox())
        saver = Saver(run, chosen, ALONE, Rollback(run, 1, ALONE, emitter), emitter, Stored())
        assert not saver.due(0), "nothing has been learned"
        assert saver.due(100)
        saver.saved_step = 100
        assert not saver.due(100)
        assert saver.due(200)


async def test_a_checkpoint_is_complete_only_when_its_metrics_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Database.append
    missing: list[int] = []

    def slow(database: Database, events: Any) -> list[str]:
        time.sleep(0.05)
        return append(database, events)

    def sync(folder: Path) -> None:  # the first thing after the checkpoint has got its name
        if folder.name == "checkpoints":
            newest = max(int(path.name) for path in folder.iterdir())
            stored = RunReader(folder.parent).metrics(["train/kl"])["series"]["train/kl"]["step"]
            missing.extend({newest} - set(stored))

    monkeypatch.setattr(Database, "append", slow)
    monkeypatch.setattr("keisei.store.checkpoints.sync_folder", sync)
    chosen = settings(tmp_path, steps=500, checkpoint_seconds=1e-6)
    async with Keisei(chosen, _learner=Learners()) as keisei:
        await keisei.wait()
        assert await saved(keisei)
    assert missing == []


# ---------------------------------------------------------------------- not finite
class Spoilt(FakeLearner):
    """Its weights are NaN from iteration ``since`` on, until it goes back to others."""

    since = 4

    def tensors(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        bad = self.iteration >= self.since and not self.went_back_to
        return {"weights": {"w": torch.tensor([float("nan" if bad else self.step)])}}


async def train(settings: Settings) -> tuple[Spoilt, Any, list[Any]]:
    """Train a ``Spoilt``. Return it, the outcome or the error's text, and all events."""
    learners = Learners(Spoilt)
    outcome: Any = None
    events: list[Any] = []
    try:
        async with Keisei(settings, _learner=learners) as session:
            events += [event async for event in session.events()]
            outcome = await session.wait()
    except TrainingFailed as failure:
        outcome = str(failure)
    return learners.made[0], outcome, events


def saved_steps(events: list[Any]) -> list[int]:
    return [event.step for event in events if event.event == "checkpoint"]


def alert_messages(events: list[Any]) -> list[str]:
    return [event.message for event in events if isinstance(event, Alert)]


async def test_weights_that_are_not_finite_are_not_saved_and_give_one_alert(
    tmp_path: Path,
) -> None:
    _, outcome, events = await train(detector_settings(tmp_path))
    assert outcome.kind == "finished"
    assert saved_steps(events) == [100, 200, 300]
    assert alert_messages(events) == ["no checkpoint at step 400: weights/w is not finite"]
    end = next(event for event in events if event.event == "finished")
    assert (
        end.message
        == "weights/w is not finite: not saved; a resumed run continues from the previous checkpoint"
    )


async def test_as_many_refused_saves_in_a_row_as_the_settings_allow_end_the_run(
    tmp_path: Path,
) -> None:
    _, outcome, events = await train(detector_settings(tmp_path, nonfinite_stop=3))
    assert "weights/w is not finite: 3 consecutive checkpoints were refused" in outcome
    assert saved_steps(events) == [100, 200, 300]


async def test_the_reaction_stop_ends_the_run_at_the_first_refused_save(tmp_path: Path) -> None:
    _, outcome, _ = await train(detector_settings(tmp_path, nonfinite="stop"))
    assert "weights/w is not finite (detectors.nonfinite = 'stop')" in outcome


async def test_the_reaction_rollback_goes_back_to_finite_weights_and_saves_again(
    tmp_path: Path,
) -> None:
    learner, outcome, events = await train(detector_settings(tmp_path, nonfinite="rollback"))
    assert learner.went_back_to == [300]
    assert outcome.kind == "finished"
    assert saved_steps(events) == [100, 200, 300, 500, 600, 700, 800]
    assert alert_messages(events) == [
        "no checkpoint at step 400: weights/w is not finite",
        "nonfinite: training went back to the weights of step 300",
    ]


async def test_a_rollback_skips_a_checkpoint_that_is_not_finite_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Old(Spoilt):
        """Saves what is not finite, as earlier versions did, up to iteration 6."""

        def iterate(self) -> Any:
            report = yield from super().iterate()
            if self.iteration == 6:
                monkeypatch.undo()
            return report

    monkeypatch.setattr("keisei.store.checkpoints.first_not_finite", lambda tensors: None)
    chosen = detector_settings(tmp_path, nonfinite="rollback")
    learners = Learners(Old)
    async with Keisei(chosen, _learner=learners) as session:
        messages = alert_messages([event async for event in session.events()])
    assert learners.made[0].went_back_to == [300]
    refused = [message for message in messages if message.startswith("refused: ")]
    assert len(refused) == 2
    assert "000000000500/weights.safetensors: weights/w is not finite" in refused[0]
    assert "000000000400/weights.safetensors: weights/w is not finite" in refused[1]


async def test_a_request_for_a_checkpoint_that_is_refused_raises_the_reason(tmp_path: Path) -> None:
    endless = Settings.load(None, {"run.root": tmp_path, "detectors.nonfinite_stop": 1000})
    async with Keisei(endless, _learner=Spoilt) as session:
        async for event in session.events():
            if isinstance(event, Iteration) and event.iteration > 4:
                break
        with anyio.fail_after(10), pytest.raises(NotFiniteError, match="weights/w is not finite"):
            await session.checkpoint()
        session.stop()
        outcome = await session.wait()
    assert outcome.kind == "stopped"
    (path,) = await to_thread.run_sync(session.run.checkpoints)
    assert path.name == "000000000100"
