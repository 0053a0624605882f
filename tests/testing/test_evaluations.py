"""The evaluations of the fake run."""

import pytest

from keisei.evaluation.spec import EvaluationSpec
from keisei.testing import FakeRun
from keisei.testing.evaluations import made_up_score


@pytest.mark.parametrize(("opponent", "wins"), [("random", 90), ("material", 60)])
def test_the_made_up_score_depends_on_the_opponent(opponent: str, wins: int) -> None:
    spec = EvaluationSpec(opponents=(opponent,), games=100)
    before = made_up_score(spec, 0, over=False)
    assert before == {"progress": 0, "score": None, "interval": None, "result": None}
    after = made_up_score(spec, 100, over=True)
    assert (after["progress"], after["score"]) == (1, wins / 100)
    assert (after["result"]["wins"], after["result"]["losses"]) == (wins, 100 - wins)
    low, high = after["interval"]
    assert low <= after["score"] <= high


@pytest.mark.anyio
async def test_evaluate_returns_the_handle_that_a_real_run_returns() -> None:
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
