"""Checkpoints are listed by step; what a crash left is removed."""

from pathlib import Path

import pytest

from keisei.config import Settings
from keisei.store import RunDirectory
from keisei.store.layout import (
    best_checkpoint,
    best_steps,
    checkpoint_folders,
    checkpoint_name,
    leftovers,
    remove_checkpoint,
)


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


def test_a_best_folder_in_a_copied_run_has_no_step(tmp_path: Path) -> None:
    assert best_steps(tmp_path) == set()
    (tmp_path / "best").mkdir()
    assert best_checkpoint(tmp_path) == tmp_path / "best"
    assert best_steps(tmp_path) == set()
    (tmp_path / "best").rmdir()
    (tmp_path / "checkpoints" / checkpoint_name(20)).mkdir(parents=True)
    (tmp_path / "best").symlink_to(f"checkpoints/{checkpoint_name(20)}")
    assert best_steps(tmp_path) == {20}


def test_a_removal_that_breaks_off_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(path: Path) -> None:
        raise KeyboardInterrupt

    (tmp_path / "20").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", crash)
        with pytest.raises(KeyboardInterrupt):
            remove_checkpoint(tmp_path / "20")
    assert checkpoint_folders(tmp_path) == []
    assert leftovers(tmp_path) == [tmp_path / ".old-20"]
