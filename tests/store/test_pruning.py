"""Pruning keeps whatever may be needed."""

from pathlib import Path

from stored_runs import damage, make_run

from keisei.config import Run
from keisei.store import MatchTable, RunDirectory, find_checkpoint
from keisei.store.pruning import check, check_all, removable, remove
from keisei.store.retention import pin

ONE = Run(checkpoints_kept=1)


def gone(run: Path, settings: Run = ONE) -> list[int]:
    return [int(path.name) for path in removable(run, settings)]


def test_only_the_newest_checkpoint_stays(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [10, 20, 30])
    assert gone(run) == [10, 20]
    remove(removable(run, ONE))
    assert [found.path.name for found in check_all(run)] == [f"{30:012d}"]
    assert gone(run) == []


def test_a_damaged_checkpoint_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [10, 20, 30])
    for path in (run / "checkpoints").glob("*[123]0"):
        if path.name.endswith("30"):
            damage(path / "weights.safetensors")
    assert gone(run) == [10]
    remove(removable(run, ONE))
    assert find_checkpoint(run)[0].name.endswith("20")


def test_a_run_whose_checkpoints_are_all_damaged_loses_none(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [10, 20])
    for found in check_all(run):
        damage(found.path / "state.json")
    assert [check(found.path).error is None for found in check_all(run)] == [False, False]
    assert gone(run) == []


def test_the_best_and_pinned_checkpoints_and_those_of_a_resume_stay(tmp_path: Path) -> None:
    good = {"newest": 60, "proven": 40, "trial": [3, 50]}
    run = make_run(tmp_path / "run", [10, 20, 30, 40, 50, 60, 70], state={"good": good})
    with RunDirectory.open(run) as opened:
        opened.promote(20)
    assert gone(run) == [10, 30]
    pin(run / "checkpoints" / f"{10:012d}")
    assert gone(run) == [30]
    table = MatchTable(run)
    players = {"run@30": f"checkpoints/{30:012d}", "x@1": "/elsewhere/checkpoints/000000000001"}
    table.begin("a", 30, {"players": players})
    assert gone(run) == []
    table.update("a", "done", {"players": players})
    table.close()
    assert gone(run) == [30]
