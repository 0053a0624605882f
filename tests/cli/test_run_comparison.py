"""The comparison of runs."""

from pathlib import Path

import pytest
from stored_runs import evaluate, make_run

from keisei.cli.errors import UsageError
from keisei.cli.run_comparison import compare, comparison_text


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    first = make_run(tmp_path / "a", [100, 200, 400], {"ppo": {"gamma": 0.5}})
    second = make_run(tmp_path / "b", [100, 800], {"run": {"seed": 3, "checkpoints_kept": 99}})
    evaluate(first, 400, "random", 0.75)
    evaluate(second, 800, "random", 0.5)
    evaluate(second, 800, "material", 0.25)
    return [first, second]


def test_only_settings_that_differ_are_compared(runs: list[Path]) -> None:
    found = compare(runs, None)
    assert found["settings"] == {"run.seed": [0, 3], "ppo.gamma": [0.5, 0.98]}
    lines = comparison_text(found).splitlines()
    assert lines[1].split() == ["setting", "a", "b"]
    assert lines[3].split() == ["ppo.gamma", "0.5", "0.98"]
    assert comparison_text(compare([runs[0], runs[0]], None)).startswith("All settings are equal.")


def test_curves_have_the_same_axes(runs: list[Path]) -> None:
    found = compare(runs, "train/entropy")
    curves = found["metrics"]["train/entropy"]
    assert curves["a"] == {"step": [100, 200, 400], "value": [3.9, 3.8, 3.6]}
    lines = comparison_text(found).splitlines()
    at = lines.index("train/entropy: 3.2 to 3.9")
    first, second = lines[at + 1], lines[at + 2]
    assert "3.9 -> 3.6" in first
    assert "3.9 -> 3.2" in second
    curve = second.split("|")[1]
    assert (curve[6], curve[-1]) == ("█", "▁")
    assert first.split("|")[1].rstrip() != first.split("|")[1], "a has only half of the steps of b"


def test_scores_stand_side_by_side(runs: list[Path]) -> None:
    lines = comparison_text(compare(runs, None)).splitlines()
    at = lines.index("Newest scores")
    assert lines[at + 1].split() == ["opponent", "mode", "a", "b"]
    rows = [" ".join(line.split()) for line in lines[at + 2 : at + 4]]
    assert "random sampled 0.750 (0.650 to 0.850) 0.500 (0.400 to 0.600)" in rows
    assert "material sampled - 0.250 (0.150 to 0.350)" in rows


def test_runs_with_the_same_id_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name / "run", [10]) for name in ("x", "y")]
    assert compare(folders, None)["runs"] == [str(folder) for folder in folders]


def test_an_unknown_metric_is_refused_and_new_runs_have_no_curves(
    runs: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no metric 'train/entropi', did you mean train/entropy"):
        compare(runs, "train/entropi")
    assert "Curves" not in comparison_text(compare([make_run(tmp_path / "new")] * 2, None))
