"""The fake run, which users test against."""

import asyncio
import subprocess
import sys

import anyio
import pytest
from rsshogi.core import Board as RulesBoard

from keisei.errors import NotRunning
from keisei.evaluation.spec import EvaluationSpec
from keisei.testing import STEPS, FakeRun, _scripted_game


def test_the_fake_run_needs_no_torch() -> None:
    code = "import sys, keisei.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_scripted_games_are_legal_and_always_the_same() -> None:
    positions = list(_scripted_game(3))
    assert positions == list(_scripted_game(3))
    assert positions != list(_scripted_game(4))
    board = RulesBoard()
    for sfen, move in positions[1:]:
        board.apply_usi(move)
        assert board.to_sfen() == sfen


@pytest.mark.anyio
async def test_the_history_lies_in_the_past() -> None:
    async with FakeRun(history=50, compile_seconds=60) as run:
        assert run.step == 50 * STEPS
        found = run.reader.metrics(["train/kl"], max_points=1000)["series"]["train/kl"]
        assert found["step"] == [STEPS * i for i in range(1, 51)]
        assert found["time"] == sorted(found["time"])


@pytest.mark.anyio
async def test_the_run_stands_still_when_paused_and_stops_at_the_end_of_the_block() -> None:
    async with FakeRun(compile_seconds=0, iteration_seconds=0.02) as run:
        await run.until("running")
        while run.step == 0:  # noqa: ASYNC110 (the run has no event for it)
            await anyio.sleep(0.01)
        run.submit("pause")
        step = run.step
        await anyio.sleep(0.1)  # five iterations, if it went on
        assert run.step == step
        run.submit("resume")
        while run.step == step:  # noqa: ASYNC110 (as above)
            await anyio.sleep(0.01)
        assert run.step > step
    assert run.state == "stopped"
    with pytest.raises(NotRunning):
        await run.evaluate(EvaluationSpec(opponents=("random",), games=2))


@pytest.mark.anyio
async def test_its_evaluations_are_the_handles_that_a_real_run_returns() -> None:
    spec = EvaluationSpec(opponents=("random",), games=4)
    async with FakeRun(compile_seconds=0) as run:
        await run.until("running")
        handle = await run.evaluate(spec, "key")
        assert (await run.evaluate(spec, "key")).id == handle.id
        states = [found["state"] async for found in handle]
        assert (states[0], states[-1]) == ("queued", "done")
        assert (await handle.result())["score"] == 1.0
        other = await run.evaluate(spec)
        other.cancel()
        assert (await other.result())["state"] == "cancelled"
        left = await run.evaluate(spec)
        assert [found["id"] for found in run.evaluations()] == [left.id, other.id, handle.id]
    assert (await left.result())["state"] == "interrupted"


@pytest.mark.anyio
async def test_it_may_start_in_one_task_and_close_in_another() -> None:
    run = await asyncio.create_task(FakeRun(compile_seconds=0).start())
    await asyncio.create_task(run.until("running"))
    await asyncio.create_task(run.aclose())
    assert run.state == "stopped"
    await run.aclose()
