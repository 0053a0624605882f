"""The runtime joined to the real learner, matches and store, all of them tiny."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch
from anyio import to_thread
from engine_tools import fake, nothing_left

from keisei import Evaluation, Iteration, Keisei, Settings, Status
from keisei import load as keisei_load
from keisei.errors import KeyReused
from keisei.evaluation.spec import EvaluationSpec
from keisei.play import engines
from keisei.play.tournament import _openings
from keisei.shogi import Position, SfenError
from keisei.store import load_checkpoint
from keisei.usi import Timeouts

pytestmark = pytest.mark.anyio
FAULTS = {
    "exit": "failed", "hang": "failed", "flood": "failed", "crash-once": "done", "junk": "done",
    "illegal": "done", "nonsense": "done", "stderr-flood": "failed",
}  # fmt: skip
"""What fake engines do, and what becomes of an evaluation against them."""


def tiny(path: Path, **overrides: Any) -> Settings:
    keys = {
        "run.root": path,
        "run.games_recorded": 1,
        "env.games": 8,
        "env.max_ply": 32,
        "env.reset_pool": 16,
        "net.blocks": 1,
        "net.channels": 8,
        "ppo.rollout_plies": 16,
        "opponents.share": 0.0,
        "ppo.minibatch": 64,
        "compute.dtype": "float32",
        "compute.threads": 1,
    }
    return Settings.load(overrides=keys | overrides)


async def read(path: Path) -> Any:
    return await to_thread.run_sync(load_checkpoint, path)


async def played(keisei: Keisei, evaluation: str) -> dict[int, dict[str, Any]]:
    """The games that are kept of an evaluation, by number."""
    games = partial(keisei.reader.match_games, evaluation, limit=10_000)
    return {game["number"]: game for game in await to_thread.run_sync(games)}


async def until_step(keisei: Keisei, step: int) -> None:
    async for event in keisei.events({"metrics"}):
        if event.step >= step:
            return


async def loaded(path: Path) -> Any:
    return await to_thread.run_sync(keisei_load, path)


async def newest(keisei: Keisei) -> Path:
    return (await to_thread.run_sync(keisei.run.checkpoints))[-1]


async def test_what_was_chosen_for_the_machine_is_told(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 1, "compute.dtype": "auto"})) as keisei:
        told = [e async for e in keisei.events({"status"}) if isinstance(e, Status)]
    (running,) = [event.message for event in told if event.kind == "running"]
    chosen = keisei.settings
    assert "auto" not in {chosen.device, chosen.compute.dtype}
    assert running == f"on {chosen.device}, {chosen.compute.dtype}, 1 thread"
    assert keisei.status().threads == 1


async def test_resuming_continues_the_same_games_at_the_same_step(tmp_path: Path) -> None:
    """Stopped and continued equals never stopped: weights, optimiser, games and metrics, by bit."""
    stop, end = 3 * 8 * 16, 6 * 8 * 16
    async with Keisei(tiny(tmp_path, **{"run.steps": end})) as whole:
        straight = [e async for e in whole.events({"metrics"}) if isinstance(e, Iteration)]
    async with Keisei(tiny(tmp_path, **{"run.steps": stop}), run=tmp_path / "part") as part:
        first = [e async for e in part.events({"metrics"}) if isinstance(e, Iteration)]
    settings = tiny(tmp_path, **{"run.steps": end, "ppo.gamma": 0.5})
    async with Keisei(settings, run=part.run.path, resume=True) as resumed:
        assert resumed.settings.ppo.gamma == part.settings.ppo.gamma, "the run keeps its own"
        assert resumed.status().step == stop
        second = [e async for e in resumed.events({"metrics"}) if isinstance(e, Iteration)]
    assert [e.step for e in first + second] == [e.step for e in straight]
    for one, other in zip(first + second, straight, strict=True):
        for name in ("train/loss_policy", "train/entropy", "games/length"):
            assert repr(one.values[name]) == repr(other.values[name]), (one.iteration, name)
    here, there = [await read(await newest(keisei)) for keisei in (resumed, whole)]
    assert here.step == there.step == end
    for group in here.tensors:
        for name, tensor in here.tensors[group].items():
            assert torch.equal(tensor, there.tensors[group][name]), f"{group}/{name}"


async def test_the_newest_run_is_resumed_and_its_database_goes_on(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 256})) as keisei:
        await keisei.wait()
    async with Keisei(tiny(tmp_path, **{"run.steps": 512}), resume=True) as again:
        assert again.run.path == keisei.run.path
        await again.wait()
    metrics = await to_thread.run_sync(again.reader.metrics)
    assert metrics["series"]["train/kl"]["step"] == [128, 256, 384, 512]
    games = await to_thread.run_sync(again.reader.games)
    assert games
    assert len({game["id"] for game in games}) == len(games)


async def test_init_starts_a_new_run_with_the_weights_of_another(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 128})) as first:
        await first.wait()
    settings = tiny(tmp_path, **{"run.steps": 128, "ppo.learning_rate": 1e-12})
    async with Keisei(settings, init=first.run.path) as second:
        await second.wait()
    assert second.run.path != first.run.path
    (one, two) = [await read(await newest(keisei)) for keisei in (first, second)]
    assert one.step == two.step == 128, "a new run counts from nothing"
    for name, tensor in one.tensors["weights"].items():
        assert torch.allclose(tensor, two.tensors["weights"][name], atol=1e-6), name


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


async def test_evaluations_come_back_every_so_many_steps(tmp_path: Path) -> None:
    regular = {
        "every_steps": 256, "games": 2, "max_ply": 32, "opponents": "random", "promotion_games": 4,
    }  # fmt: skip
    wanted = tiny(tmp_path, **{f"evaluation.{key}": value for key, value in regular.items()})
    async with Keisei(wanted) as keisei:
        seen: dict[str, int] = {}
        async for event in keisei.events({"eval"}):
            if isinstance(event, Evaluation) and event.state == "done":
                assert event.result is not None
                seen[event.id] = int(event.result["agent"].partition("@")[2])
                if len(seen) == 4:
                    break
    first, test, second, later = seen.values()
    assert 256 <= first <= test < second <= later
    asked = [found["spec"] for found in reversed(keisei.evaluations())][:4]
    assert [spec["promote"] for spec in asked] == [False, True, False, True]
    assert list(asked[1]["opponents"]) == ["best"]
    assert list(asked[1]["sprt"]) == [0, 20]


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
        assert (await loaded(best)).step == found["measured"] < keisei.status().step
        after = await (await keisei.evaluate(replace(wanted, sprt=hard))).result()
        assert after["result"]["opponent"] == found["result"]["agent"]
        assert after["result"]["sprt"]["decision"] == "reject"
        assert (await loaded(best)).step == found["measured"]
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


async def test_a_copied_run_whose_best_is_a_folder_trains_on(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 256})) as first:
        await first.wait()
    folder = await newest(first)
    await to_thread.run_sync(shutil.copytree, folder, first.run.best)
    more = Settings.load(overrides={"run.steps": 1024, "run.checkpoint_seconds": 0.01})
    async with Keisei(more, run=first.run.path, resume=True) as again:
        assert (await again.wait()).kind == "finished"


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
    one, other = [await read(await newest(keisei)) for keisei in (alone, watched)]
    assert one.step == other.step == 1024
    for group in ("weights", "optimizer", "env"):
        for name, tensor in one.tensors[group].items():
            assert torch.equal(tensor, other.tensors[group][name]), name


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
