"""The device thread: its turns, its commands, its end."""
# ruff: noqa: PT012 (what raises is the end of the `async with`, so its body must be inside)

import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch
from anyio import to_thread
from fake_learner import FakeLearner
from run_tools import Learners, saved, settings, tiny, until

from keisei import Alert, InboxFull, Iteration, Keisei, NotRunning, Settings, Status, TrainingFailed
from keisei.config import Compute
from keisei.evaluation.spec import EvaluationSpec
from keisei.shogi import Position, SfenError

pytestmark = pytest.mark.anyio


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


async def test_a_match_plays_on_while_training_is_paused(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        await keisei.pause()
        handle = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=2, max_ply=20))
        with anyio.fail_after(30):
            assert (await handle.result())["state"] == "done"
        assert keisei.status().state == "paused"


async def test_the_live_network_answers_with_a_move(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        sfen = Position().sfen()
        with anyio.fail_after(30):
            assert await keisei.best_move(sfen) in Position().legal_moves()
            await keisei.pause()
            assert await keisei.best_move(sfen, greedy=False) in Position().legal_moves()
            with pytest.raises(SfenError):
                await keisei.best_move("nonsense")
