"""Which checkpoints the names of players stand for, and how ``best`` changes."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from anyio import to_thread
from run_tools import newest, tiny

from keisei import Keisei, Settings
from keisei.config import Run
from keisei.evaluation.spec import EvaluationSpec
from keisei.resources import shipped_network
from keisei.runtime.named import NamedCheckpoints
from keisei.store import RunDirectory


def new_run(root: Path) -> RunDirectory:
    run = RunDirectory.create(Settings(run=Run(root=root)))
    for step in (1, 2):
        run.checkpoint(step).mkdir()
    return run


def test_only_a_network_that_beat_the_present_best_replaces_it(tmp_path: Path) -> None:
    with closing(new_run(tmp_path)) as run:
        named = NamedCheckpoints(run)
        one, two = [named.relative(run.checkpoint(step)) for step in (1, 2)]
        against_random = {"current": two, "best": "random"}
        assert named.promote(against_random) == "is the run's best now"
        assert "another network" in named.promote({"current": one, "best": "random"})
        assert run.best.resolve() == run.checkpoint(2)
        assert named.promote(against_random) == "is the run's best now", (
            "again, after a kill between promotion and report"
        )
        run.checkpoint(1).rmdir()
        assert "could not become the run's best" in named.promote({"current": one, "best": two})


def test_best_is_random_before_the_first_promotion(tmp_path: Path) -> None:
    with closing(new_run(tmp_path)) as run:
        named = NamedCheckpoints(run)
        spec = EvaluationSpec(opponents=("best",))
        assert named.resolve(spec, {}) == {"best": "random"}
        run.promote(2)
        assert named.resolve(spec, {}) == {"best": "checkpoints/000000000002"}
        assert named.resolve(spec, {"best": "random"}) == {}, (
            "a resumed evaluation keeps its checkpoint"
        )


def test_shipped_is_the_network_in_the_package(tmp_path: Path) -> None:
    with closing(new_run(tmp_path)) as run:
        named = NamedCheckpoints(run)
        found = named.resolve(EvaluationSpec(opponents=("shipped",)), {})
    assert Path(found["shipped"]).parents[1] == shipped_network()


def test_paths_of_a_runs_own_checkpoints_are_relative_to_its_folder(tmp_path: Path) -> None:
    with closing(new_run(tmp_path)) as run:
        named = NamedCheckpoints(run)
        own, other = run.checkpoint(1), tmp_path / "elsewhere"
        assert named.absolute(named.relative(own)) == str(own)
        assert named.absolute(named.relative(other)) == str(other)
        assert not Path(named.relative(own)).is_absolute()
        assert named.absolute("material") == "material"


@pytest.mark.anyio
async def test_a_copied_run_whose_best_is_a_folder_trains_on(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 256})) as first:
        await first.wait()
    folder = await newest(first)
    await to_thread.run_sync(shutil.copytree, folder, first.run.best)
    more = Settings.load(overrides={"run.steps": 1024, "run.checkpoint_seconds": 0.01})
    async with Keisei(more, run=first.run.path, resume=True) as again:
        assert (await again.wait()).kind == "finished"
