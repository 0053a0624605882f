"""What a run says about itself: from its events, and before the first one."""

from pathlib import Path
from typing import Any

import pytest
from run_tools import Learners, settings, until

from keisei import Alert, Iteration, Keisei, Settings, Status
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Evaluation
from keisei.runtime.plan import StartPoint
from keisei.runtime.status import RunState, StatusReport

pytestmark = pytest.mark.anyio


START = StartPoint(step=300, iteration=3, elapsed=7.5, saved=1000.0)


def status(kind: Any, state: Any, step: int, message: str = "") -> Status:
    return Status(run="run", step=step, time=2000.0, kind=kind, state=state, message=message)


def report(state: RunState, *, stopping: bool = False) -> StatusReport:
    return state.report(
        stopping=stopping, elapsed=7.5, phase="iteration", beat_age=0.0, clients=0, dropped=0,
        degraded=(),
    )  # fmt: skip


def test_the_step_never_goes_back() -> None:
    state = RunState("run", Settings(), StartPoint())
    state.update(status("running", "running", 200))
    state.update(Alert(run="run", step=100, time=0.0, name="x", level="warning", message="late"))
    assert report(state).step == 200
    state.update(status("paused", "paused", 300))
    assert report(state).step == 300


def test_a_checkpoint_event_changes_neither_the_message_nor_a_pause() -> None:
    state = RunState("run", Settings(), START)
    state.update(status("paused", "paused", 300, "by the operator"))
    state.update(status("checkpoint", "paused", 300, "checkpoints/000000000300"))
    found = report(state)
    assert (found.state, found.message, found.checkpoint) == ("paused", "by the operator", 300)


def test_an_iteration_gives_its_number_and_speed() -> None:
    state = RunState("run", Settings(), START)
    assert (report(state).iteration, report(state).steps_per_second) == (3, 0.0)
    values = {"speed/steps_per_second": 25.0}
    state.update(Iteration(run="run", step=400, time=0.0, iteration=4, values=values))
    assert (report(state).iteration, report(state).steps_per_second) == (4, 25.0)


def test_a_requested_stop_shows_until_the_run_has_ended() -> None:
    state = RunState("run", Settings(), StartPoint())
    state.update(status("running", "running", 0, "on cpu"))
    assert (report(state, stopping=True).state, report(state, stopping=True).message) == (
        "stopping",
        "",
    )
    state.update(status("finished", "finished", 100, "done"))
    assert (report(state, stopping=True).state, report(state, stopping=True).message) == (
        "finished",
        "done",
    )


async def test_a_resumed_run_shows_its_checkpoint_and_evaluations_before_it_trains(
    tmp_path: Path,
) -> None:
    async with Keisei(settings(tmp_path), _learner=Learners()) as first:
        await until(first, Iteration)
        await first.evaluate(EvaluationSpec(opponents=("random",), games=2, max_ply=4))
        ended = await until(first, Evaluation, state="done")
        await until(first, Iteration)
        measured = first.evaluation(ended.id)["result"]["agent"]  # type: ignore[index]
        assert int(measured.removeprefix(f"{first.run.id}@").removesuffix(" mates=1")) > 0
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
