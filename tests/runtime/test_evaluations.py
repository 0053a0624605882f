"""Evaluations that are played beside training: how they begin, resume and end."""
# ruff: noqa: PT012 (what raises is the end of the `async with`, so its body must be inside)

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch
from anyio import to_thread
from engine_tools import fake, nothing_left
from fake_learner import FakeLearner
from run_tools import (
    Gate,
    Learners,
    newest,
    played,
    read_checkpoint,
    settings,
    tiny,
    until,
    until_step,
)

from keisei import Iteration, Keisei, Settings, TrainingFailed
from keisei import load as keisei_load
from keisei.errors import KeyReused
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Evaluation
from keisei.play import engines
from keisei.play.tournament import _openings
from keisei.search import warm_up
from keisei.usi import Timeouts

pytestmark = pytest.mark.anyio


FAULTS = {
    "exit": "failed", "hang": "failed", "flood": "failed", "crash-once": "done", "junk": "done",
    "illegal": "done", "nonsense": "done", "stderr-flood": "failed",
}  # fmt: skip
"""What fake engines do, and how an evaluation against them ends."""


async def step_of(checkpoint: Path) -> int:
    """Load a checkpoint as ``keisei.load`` does; return its step."""
    return (await to_thread.run_sync(keisei_load, checkpoint)).step


async def test_the_newest_evaluations_score_is_a_metric(tmp_path: Path) -> None:
    async with Keisei(settings(tmp_path), _learner=Learners()) as keisei:
        await keisei.evaluate(EvaluationSpec(opponents=("random",), games=2, max_ply=4))
        await until(keisei, Evaluation, state="done")
        event = await until(keisei, Iteration)
        assert event.values["eval/score"] == 0.5  # games that are cut count half


async def test_an_evaluation_that_a_failed_run_never_began_is_interrupted(tmp_path: Path) -> None:
    gate = Gate()

    def on_turn(learner: FakeLearner, turn: int) -> None:
        gate(learner, turn)
        raise ArithmeticError("loss is not finite")

    keisei = Keisei(settings(tmp_path), _learner=Learners(on_turn=on_turn), keep_serving=True)
    with pytest.raises(TrainingFailed):
        async with keisei:
            await gate.reached()
            evaluation = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=2))
            gate.open()
            with anyio.fail_after(10):
                assert (await evaluation.result())["state"] == "interrupted"


async def test_the_checkpoints_of_an_evaluation_are_kept_until_it_ends(tmp_path: Path) -> None:
    chosen = settings(tmp_path, checkpoints_kept=1)
    async with Keisei(chosen, _learner=Learners()) as keisei:
        handle = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=400))
        with anyio.fail_after(30):
            measured = await anext(
                change["measured"] async for change in handle if change["players"]
            )
        assert keisei.run.pinned[handle.id] == {measured}
        handle.cancel()
        assert (await handle.result())["state"] == "cancelled"
        assert handle.id not in keisei.run.pinned


async def test_a_match_is_played_while_training_goes_on(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"evaluation.share": 0.5})) as keisei:
        events = keisei.events({"eval", "metrics"})
        spec = EvaluationSpec(opponents=("random",), games=4, max_ply=40)
        handle = await keisei.evaluate(spec, "key")
        assert (await keisei.evaluate(spec, "key")).id == handle.id
        with pytest.raises(KeyReused):
            await keisei.evaluate(EvaluationSpec(opponents=("material",), games=4), "key")
        with anyio.fail_after(30):
            changes = [found async for found in handle]
            result = await handle.result()
        assert changes[-1] == result
        progress = [found["progress"] for found in changes]
        assert progress == sorted(progress)
        assert result["state"] == "done"
        counts = result["result"]
        assert counts["wins"] + counts["losses"] + counts["draws"] + counts["capped"] == 4
        assert keisei.evaluations() == [result]
        games = await to_thread.run_sync(keisei.reader.match_games, handle.id)
        assert sorted(game["number"] for game in games) == [0, 1, 2, 3]
        ratings = await to_thread.run_sync(keisei.reader.ratings)
        assert {row["player"] for row in ratings} == {"random", result["result"]["agent"]}
        seen = []
        async for event in events:
            seen.append(event)
            if isinstance(event, Evaluation) and event.state == "done":
                break
        states = [event.state for event in seen if isinstance(event, Evaluation)]
        assert states[0] == "queued"
        assert states[-1] == "done"
        async for event in events:  # training goes on meanwhile
            if isinstance(event, Iteration) and event.values["speed/share_evaluation"] < 0.5:
                break


async def test_an_evaluation_can_be_cancelled_and_the_end_of_the_run_interrupts_it(
    tmp_path: Path,
) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        first = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=64))
        first.cancel()  # before it has begun
        second = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=64))
        assert (await first.result())["state"] == "cancelled"
        first.cancel()  # it has ended
    ended = await second.result()
    assert ended["state"] == "interrupted"
    kept = await to_thread.run_sync(keisei.reader.evaluation, second.id)
    assert kept is not None
    assert kept["state"] == "interrupted"


async def test_a_resumed_run_continues_an_evaluation_where_it_was(tmp_path: Path) -> None:
    wanted = EvaluationSpec(opponents=("random",), games=400, max_ply=60)
    async with Keisei(tiny(tmp_path, **{"run.checkpoints_kept": 1})) as first:
        await first.checkpoint()
        handle = await first.evaluate(wanted)
        async for event in first.events({"eval"}):
            if isinstance(event, Evaluation) and event.progress > 0.1:
                break
        measured = first.evaluation(handle.id)["measured"]  # type: ignore[index]
        await until_step(first, measured + 1)
        await first.checkpoint()  # a newer one; the evaluation's own must stay
    before = await played(first, handle.id)
    assert 0 < len(before) < 400
    quicker = Settings.load(overrides={"evaluation.share": 0.9})
    async with Keisei(quicker, run=first.run.path, resume=True) as again:
        *_, found = [change async for change in again.follow_evaluation(handle.id)]
        assert (found["state"], found["measured"], found["progress"]) == ("done", measured, 1)
        assert found["result"]["agent"] == f"{again.run.id}@{measured} mates=1"
        assert found["result"]["games"] == 400
    after = await played(again, handle.id)
    complete = [number for number in before if number ^ 1 in before]
    assert complete
    assert all(after[number] == before[number] for number in complete), "pairs were played again"
    assert len(after) == 400


async def test_a_finished_run_that_is_served_again_continues_its_evaluation(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 256})) as first:
        handle = await first.evaluate(EvaluationSpec(opponents=("random",), games=400, max_ply=60))
        await first.wait()
    assert (await handle.result())["state"] == "interrupted"
    again = Keisei(Settings(), run=first.run.path, resume=True, keep_serving=True)
    async with again:
        *_, found = [change async for change in again.follow_evaluation(handle.id)]
    assert (found["state"], found["result"]["games"]) == ("done", 400)


async def test_a_network_that_passes_the_test_becomes_best_until_a_better_one_comes(
    tmp_path: Path,
) -> None:
    easy, hard = (-800.0, -400.0), (400.0, 800.0)
    wanted = EvaluationSpec(opponents=("best",), games=20, max_ply=40, sprt=easy, promote=True)
    async with Keisei(tiny(tmp_path, **{"run.checkpoints_kept": 1})) as keisei:
        best = keisei.run.best
        found = await (await keisei.evaluate(wanted)).result()
        assert found["result"]["opponent"] == "random", (
            "there is a best network before the first test"
        )
        assert found["message"] == f"{found['result']['agent']} is the run's best now"
        for _ in range(3):
            await until_step(keisei, keisei.status().step + 1)
            await keisei.checkpoint()
        assert await step_of(best) == found["measured"] < keisei.status().step
        after = await (await keisei.evaluate(replace(wanted, sprt=hard))).result()
        assert after["result"]["opponent"] == found["result"]["agent"]
        assert after["result"]["sprt"]["decision"] == "reject"
        assert await step_of(best) == found["measured"]
        event = await anext(keisei.events({"metrics"}))
        assert "eval/score" not in event.values, (
            "a score against ``best`` is no curve: the opponent changes"
        )


async def test_a_stop_keeps_the_checkpoint_that_an_interrupted_evaluation_needs(
    tmp_path: Path,
) -> None:
    many = EvaluationSpec(
        opponents=("random", "material") * 50, strategy="gauntlet", games=2, max_ply=32
    )
    wanted = tiny(tmp_path, **{"run.checkpoints_kept": 1, "evaluation.share": 0.9})
    async with Keisei(wanted) as keisei:
        handle = await keisei.evaluate(many)
        async for found in handle:
            if found["progress"] > 0.05:
                break
        await until_step(keisei, found["measured"] + 1)
        await keisei.checkpoint()
    assert (await handle.result())["state"] == "interrupted"
    assert await to_thread.run_sync(keisei.run.checkpoint(found["measured"]).exists)


@pytest.mark.parametrize("how", FAULTS)
async def test_a_bad_engine_fails_at_most_its_own_evaluation(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "Timeouts", partial(Timeouts, margin=0.5))
    engine = f"usi:{fake(how, tmp_path).path}?movetime=1"
    wanted = EvaluationSpec(opponents=(engine,), games=2, max_ply=40)
    async with nothing_left(grace=5), Keisei(tiny(tmp_path)) as keisei:
        handle = await keisei.evaluate(wanted)
        with anyio.fail_after(50):
            found = await handle.result()
        assert found["state"] == FAULTS[how]
        assert (found["message"] != "") == (found["state"] == "failed")
        if how in {"illegal", "nonsense"}:
            assert found["result"]["by_reason"]["wins"] == {"illegal_move": 2}
        await until_step(keisei, keisei.status().step + 1)


async def test_games_played_before_an_engine_failed_count(tmp_path: Path) -> None:
    engine = f"usi:{fake('exit', tmp_path).path}?nodes=1"
    wanted = EvaluationSpec(opponents=("random", engine), strategy="gauntlet", games=2, max_ply=40)
    async with Keisei(tiny(tmp_path)) as keisei:
        await keisei.pause()  # else the engine, at low priority, is slow
        found = await (await keisei.evaluate(wanted)).result()
    assert found["state"] == "failed"
    assert found["message"].startswith("EngineGone: ")
    assert (found["result"]["opponent"], found["result"]["games"]) == ("random", 2)


async def test_evaluations_do_not_change_training(tmp_path: Path) -> None:
    steps = {"run.steps": 24 * 128}
    async with Keisei(tiny(tmp_path, **steps), run=tmp_path / "alone") as alone:
        await alone.wait()
    # Without these calls, training may end before the openings are read and the search is compiled.
    await to_thread.run_sync(_openings, None)
    await to_thread.run_sync(warm_up)
    regular: dict[str, Any] = {"every_steps": 128, "games": 2, "max_ply": 40, "share": 0.9}
    regular |= {"agents": ["current?simulations=2", "current"], "promotion_games": 0}
    regular = {f"evaluation.{key}": value for key, value in regular.items()}
    async with Keisei(tiny(tmp_path, **steps, **regular), run=tmp_path / "watched") as watched:
        await watched.wait()
    games = await to_thread.run_sync(watched.reader.match_games)
    assert len(games) >= 2
    assert any("simulations=2" in game["black"] + game["white"] for game in games)
    assert all(game["plies"] > len(game["opening"].split()) - 2 for game in games)
    one, other = [await read_checkpoint(await newest(keisei)) for keisei in (alone, watched)]
    assert one.step == other.step == 3072
    for group in ("weights", "optimizer", "env"):
        for name, tensor in one.tensors[group].items():
            assert torch.equal(tensor, other.tensors[group][name]), name
