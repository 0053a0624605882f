"""The device thread: its turns, its commands, its end."""
# ruff: noqa: PT012 (what raises is the end of the `async with`, so its body must be inside)

import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch
from anyio import to_thread
from fake_learner import FakeAgent, FakeEnv, FakeLearner
from run_tools import Gate, Learners, becomes, saved, settings, tiny, until

from keisei import Alert, InboxFull, Iteration, Keisei, NotRunning, Settings, Status, TrainingFailed
from keisei.config import Compute
from keisei.evaluation.spec import EvaluationSpec
from keisei.play.mailbox import Command, Mailbox
from keisei.play.turns import OpenNetwork
from keisei.runtime.commands import COMMANDS
from keisei.runtime.share import Pace
from keisei.shogi import Position, SfenError
from keisei.store import CheckpointError, MatchGame
from keisei.store.matches import PLAYED

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------------- stop
async def test_an_iteration_too_long_to_finish_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as if earlier iterations had taken ten seconds
    monkeypatch.setattr("keisei.runtime.worker.Pace", partial(Pace, typical=10.0))
    learners = Learners(turns=1000, seconds=0.01)
    async with Keisei(settings(tmp_path), _learner=learners) as keisei:
        await becomes(lambda: keisei.status().phase == "iteration")
        keisei.stop()
        with anyio.fail_after(5):
            await keisei.wait()
    assert learners.made[0].given_up == 1
    assert await saved(keisei) == []


async def test_an_iteration_nearly_done_is_finished_and_saved(tmp_path: Path) -> None:
    gate = Gate(iteration=1, turn=10)
    learners = Learners(turns=40, seconds=0.01, on_turn=gate)
    async with Keisei(settings(tmp_path), _learner=learners) as keisei:
        await gate.reached()
        keisei.stop()
        gate.open()
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


# ---------------------------------------------------------------------- commands
async def test_a_command_is_accepted_at_once_and_finished_later(tmp_path: Path) -> None:
    learners = Learners()
    async with Keisei(settings(tmp_path, checkpoint_seconds=1000), _learner=learners) as keisei:
        await until(keisei, Iteration)
        chosen = keisei.status().message
        assert "threads" in chosen
        await keisei.pause()
        assert keisei.status().state == "paused"
        step, iteration = learners.made[0].step, learners.made[0].iteration
        elapsed = keisei.status().elapsed
        await anyio.sleep(0.1)  # time passes, but no time of training
        assert keisei.status().elapsed == elapsed > 0
        assert (learners.made[0].step, learners.made[0].iteration) == (step, iteration)
        command = keisei.submit("checkpoint")  # accepted; the iteration in progress ends first
        assert not command.finished.done
        path = await command.finished
        assert int(path.name) == (await saved(keisei))[-1] == learners.made[0].step
        await becomes(lambda: keisei.status().checkpoint == learners.made[0].step)
        await becomes(lambda: keisei.status().phase == "idle")
        assert keisei.status().state == "paused", "a checkpoint does not end a pause"
        await keisei.resume()
        event = await until(keisei, Iteration)
        assert event.step > step
        await keisei.resume()  # it runs already
        assert keisei.status().state == "running"
        assert keisei.status().message == chosen


async def test_a_full_inbox_refuses_commands(tmp_path: Path) -> None:
    gate = Gate()
    async with Keisei(settings(tmp_path), _learner=Learners(on_turn=gate)) as keisei:
        await gate.reached()
        commands = [keisei.submit("resume") for _ in range(8)]
        with pytest.raises(InboxFull):
            keisei.submit("resume")
        gate.open()
        for command in commands:
            await command.finished


async def test_a_command_that_a_run_does_not_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dance(Command):
        """No run can do this."""

    monkeypatch.setitem(COMMANDS, "dance", Dance)
    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        await until(keisei, Iteration)
        with pytest.raises(TypeError, match="Dance"):
            await keisei.submit("dance").finished  # type: ignore[arg-type]
        await until(keisei, Iteration)


@pytest.mark.parametrize("end", ["steps", "stop", "raise", "save"])
async def test_a_checkpoints_reply_comes_however_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The checkpoint is asked for within the last iteration."""
    gate = Gate(turn=2)

    def on_turn(learner: FakeLearner, turn: int) -> None:
        gate(learner, turn)
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
            await gate.reached()
            command = keisei.submit("checkpoint")
            if end == "stop":
                monkeypatch.setattr("keisei.runtime.worker.FINISH_SECONDS", -1.0)
                keisei.stop()
                assert keisei.status().state == "stopping"
                assert keisei.status().message == "", "the message of the state before is gone"
            gate.open()
            with anyio.fail_after(2):
                if end == "steps":
                    assert int((await command.finished).name) == 100
                else:
                    with pytest.raises(NotRunning):
                        await command.finished
    except TrainingFailed:
        assert end in {"raise", "save"}


# ---------------------------------------------------------------------- the learner
async def test_a_learner_that_cannot_warm_up_is_closed_and_freed(tmp_path: Path) -> None:
    class Cold(FakeLearner):
        def warm_up(self) -> None:
            raise MemoryError("no room")

    envs: list[FakeEnv] = []
    learners: list[weakref.ref[FakeLearner]] = []

    def build(settings: Settings) -> FakeLearner:
        learner = Cold(settings)
        envs.append(learner.env)
        learners.append(weakref.ref(learner))
        return learner

    with pytest.raises(TrainingFailed, match="no room"):
        async with Keisei(settings(tmp_path), _learner=build) as keisei:
            await keisei.wait()
            assert envs[0].closed
            assert learners[0]() is None


async def test_a_network_that_runs_uncompiled_gives_an_alert(tmp_path: Path) -> None:
    learners = Learners(compile_failure="no C++ compiler")
    async with Keisei(settings(tmp_path, steps=500), _learner=learners) as keisei:
        alert = await until(keisei, Alert, name="compile")
        assert "no C++ compiler" in alert.message


async def test_a_failed_runs_tensors_are_freed_though_someone_keeps_its_exception(
    tmp_path: Path,
) -> None:
    error = ValueError("keeps the frames that it passed")
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


async def test_after_two_runs_the_host_has_its_own_number_of_threads_again(tmp_path: Path) -> None:
    def threads_of_a_new_thread() -> int:
        """Return torch's number of threads in a thread that starts now."""
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    before = await to_thread.run_sync(threads_of_a_new_thread)
    number = before + 1
    wanted = settings(tmp_path).model_copy(update={"compute": Compute(threads=number)})
    async with (
        Keisei(wanted, _learner=Learners()) as first,
        Keisei(wanted, _learner=Learners()) as second,
    ):
        await until(first, Iteration)
        await until(second, Iteration)
        assert await to_thread.run_sync(threads_of_a_new_thread) == number
        first.stop()
        await first.wait()
    assert await to_thread.run_sync(threads_of_a_new_thread) == torch.get_num_threads() == before


# ---------------------------------------------------------------------- evaluation and moves
class WatchedAgent(FakeAgent):
    """Calls ``on_copy`` when its weights are copied."""

    def __init__(self, on_copy: Callable[[], None]) -> None:
        super().__init__()
        self.on_copy = on_copy

    def snapshot(self) -> FakeAgent:
        self.on_copy()
        return super().snapshot()


class WatchedLearner(FakeLearner):
    """Records whether an iteration is in progress at each copy of the weights.

    Its first iteration lasts until ``requested`` is set, and then four turns more.
    """

    def __init__(self, settings: Settings, requested: threading.Event) -> None:
        super().__init__(settings)
        self.requested = requested
        self.inside = False
        self.copied_inside: list[bool] = []
        self.agent = WatchedAgent(lambda: self.copied_inside.append(self.inside))

    def iterate(self) -> Any:
        self.inside = True
        while not self.requested.is_set():
            time.sleep(0.005)
            yield
        report = yield from super().iterate()
        self.inside = False
        return report


async def test_weights_for_an_evaluation_are_copied_between_iterations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = threading.Event()
    send = Mailbox.send

    def watched_send(self: Mailbox, item: Any) -> None:
        send(self, item)
        if isinstance(item, OpenNetwork):
            requested.set()

    monkeypatch.setattr(Mailbox, "send", watched_send)
    learners = Learners(WatchedLearner, requested=requested)
    async with Keisei(settings(tmp_path), _learner=learners) as keisei:
        await becomes(lambda: learners.made and learners.made[0].inside)
        handle = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=2, max_ply=4))
        assert (await handle.result())["measured"] % 100 == 0
        assert learners.made[0].copied_inside == [False]


async def test_a_match_plays_on_while_training_is_paused(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        await keisei.pause()
        handle = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=2, max_ply=20))
        with anyio.fail_after(30):
            assert (await handle.result())["state"] == "done"
        assert keisei.status().state == "paused"


async def test_the_network_in_training_answers_with_a_move(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        sfen = Position().sfen()
        with anyio.fail_after(30):
            assert await keisei.best_move(sfen) in Position().legal_moves()
            await keisei.pause()
            assert await keisei.best_move(sfen, greedy=False) in Position().legal_moves()
            with pytest.raises(SfenError):
                await keisei.best_move("nonsense")
            chosen = await keisei.choose_move(Position())
            assert chosen.top_moves[0][0] == chosen.move == await keisei.best_move(sfen)
            assert chosen.value is not None


async def test_another_checkpoint_answers_with_a_move_while_the_run_trains(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        path = str(await keisei.checkpoint())
        step = int(Path(path).name)
        with anyio.fail_after(60):
            for more in ({}, {"greedy": False, "temperature": 0.5}, {"simulations": 4}):
                chosen = await keisei.choose_move(Position(), model=path, **more)  # type: ignore[arg-type]
                assert chosen.move in Position().legal_moves()
                assert chosen.player == f"{keisei.run.id}@{step}"
            with pytest.raises(CheckpointError, match="no best network"):
                await keisei.choose_move(Position(), model="best")
            with pytest.raises(CheckpointError):
                await keisei.choose_move(Position(), model=str(tmp_path))
        assert (await keisei.choose_move(Position())).player.startswith(f"{keisei.run.id}@")


async def test_a_game_of_a_person_is_kept_in_the_database(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"pair": 0, "opening": "startpos", "start": "startpos", "plies": 1}
    fields |= {"black": "Anna", "white": "run@1", "result": "white", "reason": "resignation"}
    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        assert await keisei.keep_game(MatchGame(number=0, moves="7g7f", **fields), "Anna") == 1
        kept = await to_thread.run_sync(keisei.reader.match_game, PLAYED, 1)
        assert kept
        assert kept["black"] == "Anna"


@pytest.fixture(scope="module")
def mate_in_one() -> Position:
    """Compile the rules, which must not happen on the event loop."""
    position = Position("4k4/9/4P4/9/9/9/9/9/4K4 b 2G 1")
    assert position.mate() is not None
    return position


async def test_the_network_in_training_searches_for_a_move(
    tmp_path: Path, mate_in_one: Position
) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        with anyio.fail_after(30):
            found = await keisei.choose_move(mate_in_one, simulations=200, mates=0)
            assert found.mate == 1
            assert found.move == found.line[0] == mate_in_one.mate()
            forced = await keisei.choose_move(mate_in_one, simulations=200)
            assert (forced.mate, forced.visits) == (1, ())
            await keisei.pause()
            timed = await keisei.choose_move(Position(), seconds=0.2)
            assert timed.move == timed.visits[0][0]
            assert await keisei.best_move("startpos", simulations=8) in Position().legal_moves()


async def test_a_run_that_ends_refuses_the_searches_in_progress(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        with anyio.fail_after(30):
            await keisei.pause()
            async with anyio.create_task_group() as group:

                async def ask() -> None:
                    with pytest.raises(NotRunning):
                        await keisei.choose_move(Position(), seconds=60)

                group.start_soon(ask)
                await anyio.sleep(0.5)
                keisei.stop()


async def test_a_chosen_game_is_shown_and_its_number_is_in_the_status(tmp_path: Path) -> None:
    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        assert await keisei.show(7) == 7
        await becomes(lambda: keisei.status().showcase == 7)
        with pytest.raises(LookupError, match="game 0 is not in progress"):
            await keisei.show(0)
