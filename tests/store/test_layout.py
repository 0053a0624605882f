"""Checkpoints are listed by step; what a crash left is removed."""

from pathlib import Path

from keisei.config import Settings
from keisei.store import RunDirectory
from keisei.store.layout import checkpoint_folders, checkpoint_name


def test_checkpoints_are_listed_by_step_and_other_entries_are_not(tmp_path: Path) -> None:
    assert checkpoint_folders(tmp_path / "nowhere") == []
    for name in ("100", "9", checkpoint_name(20), ".new-000000000001", "best"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").touch()
    assert [int(path.name) for path in checkpoint_folders(tmp_path)] == [9, 20, 100]


def test_opening_a_run_removes_what_a_crash_left(tmp_path: Path) -> None:
    run = RunDirectory.create(Settings(), tmp_path / "run")
    run.checkpoint(1).mkdir()
    for name in (".new-000000000002", ".old-000000000000"):
        (run.path / "checkpoints" / name).mkdir()
    run.close()
    with RunDirectory.open(run.path) as again:
        assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["000000000001"]
        assert again.checkpoints() == [run.path / "checkpoints" / "000000000001"]
