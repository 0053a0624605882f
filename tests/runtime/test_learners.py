"""Where a run's learner begins: at a checkpoint, or at the weights of another run."""

from pathlib import Path

import pytest
import torch
from anyio import to_thread
from run_tools import newest, read_checkpoint, tiny

from keisei import Iteration, Keisei
from keisei.resources import shipped_network
from keisei.store import read_settings

pytestmark = pytest.mark.anyio


async def test_resuming_continues_the_same_games_at_the_same_step(tmp_path: Path) -> None:
    """A run that was stopped and resumed equals one that was not, bit by bit."""
    stop, end = 3 * 8 * 16, 6 * 8 * 16
    async with Keisei(tiny(tmp_path, **{"run.steps": end})) as whole:
        straight = [e async for e in whole.events({"metrics"}) if isinstance(e, Iteration)]
    async with Keisei(tiny(tmp_path, **{"run.steps": stop}), run=tmp_path / "part") as part:
        first = [e async for e in part.events({"metrics"}) if isinstance(e, Iteration)]
    settings = tiny(tmp_path, **{"run.steps": end, "ppo.gamma": 0.5})
    async with Keisei(settings, run=part.run.path, resume=True) as resumed:
        assert resumed.settings.ppo.gamma == part.settings.ppo.gamma, "the run keeps its own value"
        assert resumed.status().step == stop
        second = [e async for e in resumed.events({"metrics"}) if isinstance(e, Iteration)]
    assert [e.step for e in first + second] == [e.step for e in straight]
    for one, other in zip(first + second, straight, strict=True):
        for name in ("train/loss_policy", "train/entropy", "games/length"):
            assert repr(one.values[name]) == repr(other.values[name]), (one.iteration, name)
    here, there = [await read_checkpoint(await newest(keisei)) for keisei in (resumed, whole)]
    assert here.step == there.step == end
    for group in here.tensors:
        for name, tensor in here.tensors[group].items():
            assert torch.equal(tensor, there.tensors[group][name]), f"{group}/{name}"


async def test_init_starts_a_new_run_from_the_weights_of_another(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 128})) as first:
        await first.wait()
    settings = tiny(tmp_path, **{"run.steps": 128, "ppo.learning_rate": 1e-12})
    async with Keisei(settings, init=first.run.path) as second:
        await second.wait()
    assert second.run.path != first.run.path
    (one, two) = [await read_checkpoint(await newest(keisei)) for keisei in (first, second)]
    assert one.step == two.step == 128, "a new run counts from 0"
    for name, tensor in one.tensors["weights"].items():
        assert torch.allclose(tensor, two.tensors["weights"][name], atol=1e-6), name


async def test_init_takes_the_weights_of_the_network_that_ships_with_keisei(tmp_path: Path) -> None:
    shipped = await to_thread.run_sync(shipped_network)
    net = (await to_thread.run_sync(read_settings, shipped)).net.model_dump()
    keys = {f"net.{key}": value for key, value in net.items()}
    settings = tiny(tmp_path, **keys, **{"run.steps": 128, "ppo.learning_rate": 1e-12})
    async with Keisei(settings, init="shipped") as run:
        await run.wait()
    origin = await read_checkpoint(next((shipped / "checkpoints").iterdir()))
    trained = await read_checkpoint(await newest(run))
    for name, tensor in origin.tensors["weights"].items():
        assert torch.allclose(tensor, trained.tensors["weights"][name], atol=1e-6), name
