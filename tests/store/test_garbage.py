"""What no run needs is found and removed, and nothing else."""

import shutil
from pathlib import Path

import pytest
from stored_runs import evaluate, make_run

from keisei.store import RunDirectory, RunError, RunLockedError
from keisei.store.garbage import find_garbage


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", [10])


def found(root: Path) -> dict[str, int]:
    return {str(item.path.relative_to(root)): item.bytes for item in find_garbage(root)}


def litter(run: Path) -> None:
    """Leave behind what crashes and ``wandb sync`` leave."""
    for name in ("checkpoints/.new-000000000020", "checkpoints/.old-000000000001"):
        (run / name).mkdir()
        (run / name / "weights.safetensors").write_bytes(b"x" * 1000)
    (run / ".run.toml.new").write_bytes(b"x" * 10)
    (run / ".best.new").symlink_to("checkpoints/000000000010")
    for name, mark in (("offline-run-1", True), ("offline-run-2", False)):
        (run / "wandb" / name).mkdir(parents=True)
        (run / "wandb" / name / "run.wandb").write_bytes(b"x" * 500)
        if mark:
            (run / "wandb" / name / "run.wandb.synced").touch()
    (run / "wandb" / "latest-run").symlink_to("offline-run-1")


def test_leftovers_and_uploaded_data_are_garbage_and_the_run_stays_whole(
    run: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    litter(run)
    assert found(tmp_path) == {
        "run/checkpoints/.new-000000000020": 1000,
        "run/checkpoints/.old-000000000001": 1000,
        "run/.run.toml.new": 10,
        "run/.best.new": 0,
        "run/wandb/offline-run-1": 500,
    }
    for item in find_garbage(tmp_path):
        item.remove()
    assert found(tmp_path) == {}
    assert (run / "wandb" / "offline-run-2" / "run.wandb").exists()
    after = {path: path.read_bytes() for path in before if path.name != "lock"}
    assert after == {path: data for path, data in before.items() if path.name != "lock"}


def test_a_run_in_use_has_no_garbage_and_is_not_touched(run: Path, tmp_path: Path) -> None:
    litter(run)
    items = find_garbage(tmp_path)
    with RunDirectory.open(run):
        assert found(tmp_path) == {}
        (run / "checkpoints" / ".new-000000000020").mkdir()  # a save is going on
        with pytest.raises(RunLockedError):
            items[0].remove()
        assert (run / "checkpoints" / ".new-000000000020").exists()


def test_an_empty_run_is_garbage_until_it_has_something(tmp_path: Path) -> None:
    make_run(tmp_path / "empty")
    make_run(tmp_path / "saved", [10])
    shutil.rmtree(make_run(tmp_path / "measured", [10]) / "checkpoints")
    evaluate(make_run(tmp_path / "evaluated"), 0, "random", 0.5)
    damaged = make_run(tmp_path / "damaged")
    for file in damaged.glob("keisei.db*"):
        file.unlink()
    (damaged / "keisei.db").write_bytes(b"x" * 5000)
    (item,) = find_garbage(tmp_path)
    assert item.path == tmp_path / "empty"
    evaluate(item.path, 0, "random", 0.5)  # while the question is on the screen
    with pytest.raises(RunError, match="no longer empty"):
        item.remove()
    assert item.path.exists()
    shutil.rmtree(item.path)
    make_run(item.path)
    item.remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "damaged",
        "evaluated",
        "measured",
        "saved",
    ]


def test_a_deletion_that_was_interrupted_is_finished(run: Path, tmp_path: Path) -> None:
    run.rename(tmp_path / ".deleted-run")
    (item,) = find_garbage(tmp_path)
    item.remove()
    assert list(tmp_path.iterdir()) == []
