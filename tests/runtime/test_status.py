"""What a run says about itself."""

from pathlib import Path

import pytest
from run_tools import Learners, settings, until

from keisei import Iteration, Keisei
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Evaluation

pytestmark = pytest.mark.anyio


async def test_a_resumed_run_shows_what_it_has_before_it_does_anything(tmp_path: Path) -> None:
    async with Keisei(settings(tmp_path), _learner=Learners()) as first:
        await until(first, Iteration)
        await first.evaluate(EvaluationSpec(opponents=("random",), games=2, max_ply=4))
        ended = await until(first, Evaluation, state="done")
        await until(first, Iteration)
        measured = first.evaluation(ended.id)["result"]["agent"]  # type: ignore[index]
        assert int(measured.removeprefix(f"{first.run.id}@")) > 0
    last = first.status()
    again = Keisei(
        settings(tmp_path), run=first.run.path, resume=True, _learner=Learners(warm_up_seconds=0.3)
    )
    async with again:
        now = again.status()
        assert now.state in {"starting", "compiling"}
        assert (now.step, now.iteration) == (last.step, last.iteration)
        assert now.checkpoint == last.checkpoint == last.step
        assert now.elapsed == pytest.approx(last.elapsed, abs=0.5)
        assert now.elapsed > 0
        assert now.checkpoint_age is not None
        assert 0 < now.checkpoint_age < 60
        (kept,), (known,) = again.evaluations(), first.evaluations()
        assert [kept[k] for k in ("id", "state", "result", "games")] == [
            known[k] for k in ("id", "state", "result", "games")
        ]
        again.cancel_evaluation(ended.id)  # it has ended
        event = await until(again, Iteration)
        assert "eval/score" not in event.values
        assert again.status().elapsed > now.elapsed
