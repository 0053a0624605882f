"""The table of metrics lists what a run writes, and the guide shows the table."""

from pathlib import Path

import pytest

from keisei import Callback, Iteration, Keisei, Settings
from keisei.env import Reason
from keisei.evaluation.spec import EvaluationSpec
from keisei.metrics import METRICS, NAMES, markdown_table
from keisei.ppo.clock import PHASES

GUIDE = Path(__file__).parents[1] / "docs/guide/metrics.md"


def tiny(path: Path, **overrides: object) -> Settings:
    """Settings of a run that takes a few seconds on the CPU."""
    keys = {
        "run.root": path,
        "device": "cpu",
        "env.games": 8,
        "env.max_ply": 32,
        "env.reset_pool": 16,
        "net.blocks": 1,
        "net.channels": 8,
        "ppo.rollout_plies": 16,
        "ppo.minibatch": 64,
        "opponents.share": 0.0,
        "compute.dtype": "float32",
        "compute.threads": 1,
        "run.steps": 3 * 8 * 16,
    }
    return Settings.load(overrides=keys | overrides)


def test_the_guide_shows_the_table() -> None:
    text = GUIDE.read_text("utf-8")
    assert text[text.index("| metric") :] == markdown_table(), (
        "replace the table in docs/guide/metrics.md by what `keisei.metrics.markdown_table` returns"
    )


def test_each_metric_has_one_row_with_a_meaning_of_one_line() -> None:
    assert len(NAMES) == len(METRICS)
    for metric in METRICS:
        assert metric.meaning.endswith("."), metric
        assert "\n" not in metric.meaning, metric
        assert metric.unit, metric


def test_each_end_of_a_game_and_each_phase_of_an_iteration_is_in_the_table() -> None:
    ends = {reason.label for reason in Reason} - {"none", "max_ply"} | {"truncated"}
    assert {f"games/{label}" for label in ends} <= NAMES
    assert {f"speed/share_{phase}" for phase in PHASES} <= NAMES


@pytest.mark.anyio
async def test_a_run_without_opponents_and_evaluations_writes_the_unconditional_metrics(
    tmp_path: Path,
) -> None:
    always = {metric.name for metric in METRICS if metric.when in {"", "on the CPU"}}
    async with Keisei(tiny(tmp_path)) as keisei:
        async for event in keisei.events({"metrics"}):
            assert isinstance(event, Iteration)
            assert set(event.values) == always


@pytest.mark.anyio
async def test_a_run_with_opponents_and_an_evaluation_writes_every_metric(tmp_path: Path) -> None:
    settings = tiny(tmp_path, **{"run.steps": 0, "opponents.share": 0.5, "evaluation.share": 0.5})
    written: set[str] = set()
    async with Keisei(settings, callbacks=[Callback()]) as keisei:
        events = keisei.events({"metrics"})
        await keisei.evaluate(EvaluationSpec(opponents=("random",), games=8, max_ply=40))
        async for event in events:
            assert isinstance(event, Iteration)
            written |= set(event.values)
            assert written <= NAMES
            if "eval/score" in written:
                break
    assert NAMES - written <= {"eval/elo"}, "an evaluation won or lost entirely has no Elo"
