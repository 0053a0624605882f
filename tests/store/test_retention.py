"""Which checkpoints the settings keep, and pins."""

from pathlib import Path

import pytest
from stored_runs import make_run

from keisei.config import Run, Settings
from keisei.store import RunDirectory, resumed_settings, save_checkpoint
from keisei.store.retention import pin, surplus, unpin


def steps(folders: list[Path]) -> list[int]:
    return [int(folder.name) for folder in folders]


@pytest.mark.parametrize(
    ("kept", "every", "gone"),
    [
        (2, 0, [5, 90, 110, 190, 250, 300]),
        (99, 0, []),
        (1, 100, [5, 90, 190, 390]),  # 110, 250 and 300 begin a hundred; 400 is the newest
        (1, 300, [5, 90, 110, 190, 250, 390]),
        (6, 100, [5, 90]),
    ],
)
def test_the_newest_and_the_first_of_each_span_stay(kept: int, every: int, gone: list[int]) -> None:
    folders = [Path(f"{step:012d}") for step in (5, 90, 110, 190, 250, 300, 390, 400)]
    settings = Run(checkpoints_kept=kept, checkpoints_every_steps=every)
    assert steps(surplus(folders, settings)) == gone


def test_a_run_that_saves_keeps_the_same_checkpoints_as_the_rule(tmp_path: Path) -> None:
    settings = Settings(run={"checkpoints_kept": 2, "checkpoints_every_steps": 100})
    with RunDirectory.create(settings, tmp_path / "run") as run:
        for step in range(30, 500, 30):
            save_checkpoint(run, step, {}, {})
        assert steps(run.checkpoints()) == [120, 210, 300, 420, 450, 480]


def test_a_pinned_checkpoint_stays_until_it_is_unpinned(tmp_path: Path) -> None:
    make_run(tmp_path / "run", [10], {"run": {"checkpoints_kept": 1}})
    with RunDirectory.open(tmp_path / "run") as run:
        pin(run.checkpoint(10))  # as another process does
        save_checkpoint(run, 20, {}, {})
        save_checkpoint(run, 30, {}, {})
        assert steps(run.checkpoints()) == [10, 30]
        unpin(run.checkpoint(10))
        unpin(run.checkpoint(30))  # had no pin
        save_checkpoint(run, 40, {}, {})
        assert steps(run.checkpoints()) == [40]


def test_the_setting_may_change_on_resume() -> None:
    given = Settings(run={"checkpoints_every_steps": 7})
    settings, ignored = resumed_settings(Settings(), given)
    assert (settings.run.checkpoints_every_steps, ignored) == (7, [])
