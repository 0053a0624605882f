"""Evaluations that are played beside training."""
# ruff: noqa: PT012 (what raises is the end of the `async with`, so its body must be inside)

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest
import torch
from anyio import to_thread
from engine_tools import fake, nothing_left
from fake_learner import FakeLearner
from run_tools import (
    Learners,
    newest,
    played,
    read_checkpoint,
    settings,
    tiny,
    until,
    until_step,
)

from keisei import Iteration, Keisei, Settings, Status, TrainingFailed
from keisei import load as keisei_load
from keisei.errors import KeyReused
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Evaluation
from keisei.play import engines
from keisei.play.tournament import _openings
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


async def test_evaluations_that_a_failed_worker_never_took_are_ended(tmp_path: Path) -> None:
    gate = threading.Event()

    def on_turn(learner: FakeLearner, turn: int) -> None:
        gate.wait(5)
        raise ArithmeticError("loss is not finite")

    keisei = Keisei(settings(tmp_path), _learner=Learners(on_turn=on_turn), keep_serving=True)
    with pytest.raises(TrainingFailed):
        async with keisei:
            await until(keisei, Status, kind="running")
            await anyio.sleep(0.02)
            evaluation = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=2))
            gate.set()
            with anyio.fail_after(2):
                assert (await evaluation.result())["state"] == "interrupted"


async def test_a_match_is_played_beside_training_while_it_goes_on(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"evaluation.share": 0.5})) as keisei:
        events = keisei.events({"eval", "metrics"})
        spec = EvaluationSpec(opponents=("random",), games=4, max_ply=40)
        handle = await keisei.evaluate(spec, "key")
        assert (await keisei.evaluate(spec, "key")).id == handle.id
        with pytest.raises(KeyReused):
            await keisei.evaluate(EvaluationSpec(opponents=("material",), games=4), "key")
        with anyio.fail_after(30):
            told = [found async for found in handle]
            result = await handle.result()
        assert told[-1] == result
        assert [found["progress"] for found in told] == sorted(found["progress"] for found in told)
        assert result["state"] == "done"
        counts = result["result"]
        assert counts["wins"] + counts["losses"] + counts["draws"] + counts["capped"] == 4
        assert keisei.evaluations() == [result]
        games = await anyio.to_thread.run_sync(keisei.reader.match_games, handle.id)
        assert sorted(game["number"] for game in games) == [0, 1, 2, 3]
        ratings = await anyio.to_thread.run_sync(keisei.reader.ratings)
        assert {row["player"] for row in ratings} == {"random", result["result"]["agent"]}
        seen = []
        async for event in events:
            seen.append(event)
            if isinstance(event, Evaluation) and event.state == "done":
                break
        states = [event.state for event in seen if isinstance(event, Evaluation)]
        assert states[0] == "queued"
        assert states[-1] == "done"
        async for event in events:  # training was not stopped by it
            if isinstance(event, Iteration) and event.values["speed/share_evaluation"] < 0.5:
                break


async def test_matches_can_be_cancelled_and_end_with_the_run(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        first = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=64))
        first.cancel()  # before it did anything
        second = await keisei.evaluate(EvaluationSpec(opponents=("random",), games=64))
        assert (await first.result())["state"] == "cancelled"
        first.cancel()  # no harm
    ended = await second.result()
    assert ended["state"] == "interrupted"
    kept = await anyio.to_thread.run_sync(keisei.reader.evaluation, second.id)
    assert kept is not None
    assert kept["state"] == "interrupted"


async def test_a_resumed_run_plays_on_where_an_evaluation_was(tmp_path: Path) -> None:
    wanted = EvaluationSpec(opponents=("random",), games=400, max_ply=60)
    async with Keisei(tiny(tmp_path, **{"run.checkpoints_kept": 1})) as first:
        await first.checkpoint()
        handle = await first.evaluate(wanted)
        async for event in first.events({"eval"}):
            if isinstance(event, Evaluation) and event.progress > 0.1:
                break
        measured = first.evaluation(handle.id)["measured"]  # type: ignore[index]
        await until_step(first, measured + 1)
        await first.checkpoint()  # a newer one, and yet that of the evaluation stays
    before = await played(first, handle.id)
    assert 0 < len(before) < 400
    async with Keisei(Settings(), run=first.run.path, resume=True) as again:
        *_, found = [change async for change in again.follow_evaluation(handle.id)]
        assert (found["state"], found["measured"], found["progress"]) == ("done", measured, 1)
        assert found["result"]["agent"] == f"{again.run.id}@{measured}"
        assert found["result"]["games"] == 400
    after = await played(again, handle.id)
    complete = [number for number in before if number ^ 1 in before]
    assert complete
    assert all(after[number] == before[number] for number in complete), "they were played again"
    assert len(after) == 400


async def test_of_a_run_that_is_over_what_serves_on_plays_on(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 256})) as first:
        handle = await first.evaluate(EvaluationSpec(opponents=("random",), games=400, max_ply=60))
        await first.wait()
    assert (await handle.result())["state"] == "interrupted"
    again = Keisei(Settings(), run=first.run.path, resume=True, keep_serving=True)
    async with again:
        *_, found = [change async for change in again.follow_evaluation(handle.id)]
    assert (found["state"], found["result"]["games"]) == ("done", 400)


async def test_a_network_that_passes_the_test_becomes_best_and_stays(tmp_path: Path) -> None:
    easy, hard = (-800.0, -400.0), (400.0, 800.0)
    wanted = EvaluationSpec(opponents=("best",), games=20, max_ply=40, sprt=easy, promote=True)
    async with Keisei(tiny(tmp_path, **{"run.checkpoints_kept": 1})) as keisei:
        best = keisei.run.best
        found = await (await keisei.evaluate(wanted)).result()
        assert found["result"]["opponent"] == "random", "nobody was best"
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
        assert "eval/score" not in event.values, "a moving opponent's score is no curve"


async def test_a_stop_leaves_the_checkpoint_that_an_interrupted_evaluation_needs(
    tmp_path: Path,
) -> None:
    many = EvaluationSpec(
        opponents=("random", "material") * 50, strategy="gauntlet", games=2, max_ply=32
    )
    async with Keisei(tiny(tmp_path, **{"run.checkpoints_kept": 1})) as keisei:
        handle = await keisei.evaluate(many)
        async for found in handle:
            if found["progress"] > 0.05:
                break
        await until_step(keisei, found["measured"] + 1)
        await keisei.checkpoint()
    assert (await handle.result())["state"] == "interrupted"
    assert await to_thread.run_sync(keisei.run.checkpoint(found["measured"]).exists)


@pytest.mark.parametrize("how", FAULTS)
async def test_a_bad_engine_fails_its_evaluation_and_no_more(
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


async def test_what_was_played_before_an_engine_failed_stands(tmp_path: Path) -> None:
    engine = f"usi:{fake('exit', tmp_path).path}?nodes=1"
    wanted = EvaluationSpec(opponents=("random", engine), strategy="gauntlet", games=2, max_ply=40)
    async with Keisei(tiny(tmp_path)) as keisei:
        await keisei.pause()  # the engine has low priority
        found = await (await keisei.evaluate(wanted)).result()
    assert found["state"] == "failed"
    assert found["message"].startswith("EngineGone: ")
    assert (found["result"]["opponent"], found["result"]["games"]) == ("random", 2)


async def test_evaluations_change_nothing_of_the_training(tmp_path: Path) -> None:
    steps = {"run.steps": 8 * 128}
    async with Keisei(tiny(tmp_path, **steps), run=tmp_path / "alone") as alone:
        await alone.wait()
    await to_thread.run_sync(_openings, None)  # else training might be over before the book is read
    regular = {"every_steps": 128, "games": 2, "max_ply": 40, "share": 0.9}
    regular = {f"evaluation.{key}": value for key, value in regular.items()}
    async with Keisei(tiny(tmp_path, **steps, **regular), run=tmp_path / "watched") as watched:
        await watched.wait()
    games = await to_thread.run_sync(watched.reader.match_games)
    assert len(games) >= 2
    assert all(game["plies"] > len(game["opening"].split()) - 2 for game in games)
    one, other = [await read_checkpoint(await newest(keisei)) for keisei in (alone, watched)]
    assert one.step == other.step == 1024
    for group in ("weights", "optimizer", "env"):
        for name, tensor in one.tensors[group].items():
            assert torch.equal(tensor, other.tensors[group][name]), name
