"""The runs in a folder, also damaged ones."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stored_runs import make_run

from keisei.config import Settings
from keisei.events import Iteration, Status
from keisei.store import Database, MatchTable, RunDirectory, RunError, RunLockedError
from keisei.store.runs import delete_run, describe_run, find_run, measure_run, run_folders


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """An open run with two iterations and two evaluations."""
    with RunDirectory.create(Settings(), tmp_path / "one") as made:
        database = Database(made.database)
        where: dict[str, Any] = {"run": "one", "step": 10}
        database.append([
            Status(kind="started", state="starting", message="", time=1.0, **where),
            Iteration(iteration=1, values={}, time=2.0, **where),
            Iteration(iteration=2, values={}, time=3.0, run="one", step=20),
        ])  # fmt: skip
        database.close()
        table = MatchTable(made.path)
        table.begin("a", 10, {"opponent": "random"})
        table.update("a", "done", {"score": 0.75})
        table.begin("b", 20, {"opponent": "material"})  # still running
        table.close()
        yield made


def test_a_run_has_its_newest_step_and_the_score_of_its_newest_evaluation(
    run: RunDirectory,
) -> None:
    assert describe_run(run.path) == {
        "id": "one", "state": "running", "step": 20, "started": 1.0, "updated": 3.0, "score": 0.75,
        "opponent": "random", "problem": None,
    }  # fmt: skip


def test_a_run_that_was_closed_has_ended(run: RunDirectory) -> None:
    run.close()
    assert describe_run(run.path)["state"] == "ended"


@pytest.mark.parametrize(
    ("pid", "host", "written", "state"),
    [
        (2**22 + 1, socket.gethostname(), None, "interrupted"),  # above Linux's largest pid
        (-1, socket.gethostname(), None, "interrupted"),
        (os.getpid(), socket.gethostname(), 0, "interrupted"),  # a younger process has this pid
        (os.getpid(), "another", None, "unknown"),
        ("x", socket.gethostname(), None, "unknown"),
    ],
)
def test_a_lock_that_nobody_released_tells_what_became_of_its_process(
    run: RunDirectory, pid: object, host: str, written: float | None, state: str
) -> None:
    run.close()
    lock = run.path / "lock"
    lock.write_text(json.dumps({"pid": pid, "host": host}))
    if written is not None:
        os.utime(lock, (written, written))
    assert describe_run(run.path)["state"] == state


def test_runs_are_listed_newest_first_and_other_folders_are_not_listed(tmp_path: Path) -> None:
    for name, time in (("b", 1), ("a", 3), ("c", 2)):
        RunDirectory.create(Settings(), tmp_path / name).close()
        os.utime(tmp_path / name / "run.toml", (time, time))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert [folder.name for folder in run_folders(tmp_path)] == ["a", "c", "b"]
    assert run_folders(tmp_path / "missing") == []
    assert run_folders(tmp_path / "file") == []


def test_a_new_run_without_a_database_has_nothing_yet(tmp_path: Path) -> None:
    with RunDirectory.create(Settings(), tmp_path / "new") as made:
        found = describe_run(made.path)
    assert (found["state"], found["step"], found["problem"]) == ("running", None, None)


@pytest.mark.parametrize("file", ["keisei.db", "run.toml", "lock"])
def test_a_damaged_run_is_described_by_its_problem(run: RunDirectory, file: str) -> None:
    run.close()
    for leftover in run.path.glob("keisei.db-*"):
        leftover.unlink()
    damaged = run.path / file
    damaged.unlink()
    if file == "lock":
        damaged.mkdir()
    else:
        damaged.write_bytes(b"x" * 5000)
    found = describe_run(run.path)
    assert found["id"] == "one"
    assert str(damaged) in found["problem"]


def test_a_run_is_found_by_path_or_id(tmp_path: Path) -> None:
    run = make_run(tmp_path / "root" / "mine")
    assert find_run(str(run), tmp_path) == run
    assert find_run("mine", tmp_path / "root") == run
    with pytest.raises(RunError, match=r"no run 'mime' in .*root, did you mean mine"):
        find_run("mime", tmp_path / "root")
    with pytest.raises(RunError, match="is not a run"):
        find_run(str(tmp_path), tmp_path)


def test_a_run_is_measured_also_if_its_newest_checkpoint_is_damaged(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [10, 20])
    (run / "elsewhere").symlink_to(tmp_path)
    assert measure_run(run) == {
        "checkpoints": 2,
        "bytes": sum(p.stat().st_size for p in run.glob("**/*.*") if p.is_file())
        + (run / "lock").stat().st_size,
        "trained": 7200.0,
    }
    (run / "checkpoints" / f"{20:012d}" / "state.json").write_text("{")
    assert measure_run(run)["trained"] == 3600.0
    assert measure_run(make_run(tmp_path / "new"))["trained"] is None


def test_a_deleted_run_is_gone_and_its_neighbours_stay(tmp_path: Path) -> None:
    run, other = make_run(tmp_path / "run", [10]), make_run(tmp_path / "other", [10])
    (run / "link").symlink_to(other)
    delete_run(run)
    assert list(tmp_path.iterdir()) == [other]
    assert len(measure_run(other)) == 3
    with pytest.raises(RunError):
        delete_run(run)


def test_a_run_in_use_and_a_folder_with_runs_are_not_deleted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with RunDirectory.open(run), pytest.raises(RunLockedError):
        delete_run(run)
    inner = make_run(run / "inner")
    with pytest.raises(RunError, match=r"holds another run: .*inner"):
        delete_run(run)
    assert run_folders(run) == [inner]


def test_a_deletion_that_breaks_off_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(path: Path) -> None:
        raise KeyboardInterrupt

    run = make_run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", crash)
        with pytest.raises(KeyboardInterrupt):
            delete_run(run)
    assert run_folders(tmp_path) == []
    with pytest.raises(RunError, match="holds no run"):
        RunDirectory.newest(tmp_path)
    delete_run(make_run(run))
    assert list(tmp_path.iterdir()) == []
