"""Runs and checkpoints by id and by path."""

import argparse
from pathlib import Path

import pytest

from keisei.cli.errors import UsageError
from keisei.cli.named_run import named_checkpoint, named_run
from keisei.config import Settings
from keisei.store import RunDirectory, RunError


@pytest.fixture
def args(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """The arguments of a command that is called beside the run ``runs/mine``."""
    monkeypatch.chdir(tmp_path)
    RunDirectory.create(Settings(), tmp_path / "runs" / "mine").close()
    return argparse.Namespace(config=None, overrides={})


def test_a_run_is_named_by_id_or_path(args: argparse.Namespace, tmp_path: Path) -> None:
    for name in ("mine", "runs/mine", "runs/mine/", str(tmp_path / "runs/mine")):
        assert named_run(name, args).resolve() == tmp_path / "runs/mine"
    (tmp_path / "runs").rename(tmp_path / "kept")
    args.overrides = {"run.root": "kept"}
    assert named_run("mine", args) == Path("kept/mine")


def test_a_folder_of_the_same_name_that_is_no_run_does_not_hide_the_run(
    args: argparse.Namespace, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    assert named_run("mine", args) == Path("runs/mine")


def test_a_checkpoint_is_named_by_run_and_step_or_by_its_folder(args: argparse.Namespace) -> None:
    folder = Path("runs/mine/checkpoints/000000000064")
    folder.mkdir()
    for name in ("mine/64", "runs/mine/64"):
        assert named_checkpoint(name, args) == folder
    (folder / "manifest.json").touch()
    assert named_checkpoint(str(folder), args) == folder
    assert named_checkpoint("mine", args) == Path("runs/mine")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mnie", "no run 'mnie' in runs, did you mean mine?"),
        ("runs", "runs is not a run (it has no run.toml)"),
        ("/nowhere/run", "no run '/nowhere/run' in /nowhere"),
    ],
)
def test_other_names_are_refused(name: str, said: str, args: argparse.Namespace) -> None:
    with pytest.raises(RunError) as caught:
        named_run(name, args)
    assert str(caught.value) == said


def test_other_settings_are_refused(args: argparse.Namespace) -> None:
    args.overrides = {"ppo.gamma": "1"}
    with pytest.raises(UsageError, match=r"--ppo\.gamma: this command uses only"):
        named_run("mine", args)
