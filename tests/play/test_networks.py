"""Networks on the device thread: what is loaded, within how much memory, in what batches."""

import asyncio

import numpy as np
import pytest
import torch
from device_stand_in import DeviceStandIn, SmallMemory
from fake_learner import FakeAgent

from keisei.config import Env
from keisei.env import observe_sfen
from keisei.play.turns import CloseNetwork, OpenNetwork
from keisei.shogi import Position

pytestmark = pytest.mark.anyio


async def test_out_of_memory_halves_the_batch_and_sends_an_alert(device: DeviceStandIn) -> None:
    agent = SmallMemory()
    job = await device.start(await device.open(agent))
    device.play()
    await job.finished
    assert job.match.result().games == 8
    assert max(agent.batches) <= 3
    assert device.alerts[0][:2] == ("evaluation_memory", "warning")


async def test_out_of_memory_for_a_single_position_is_an_error_of_the_match_alone(
    device: DeviceStandIn,
) -> None:
    bad = await device.start(await device.open(SmallMemory(room=0)))
    good = await device.start(await device.open(FakeAgent()))
    device.play()
    await good.finished
    assert good.match.result().games == 8
    with pytest.raises(torch.OutOfMemoryError):
        await bad.finished


async def test_networks_that_together_exceed_the_memory_limit_are_refused() -> None:
    class Big(FakeAgent):
        nbytes = 700 << 10  # a class attribute does as well

        def snapshot(self) -> "Big":
            return self

    device = DeviceStandIn(memory_mib=1)
    first = await device.open(Big())
    with pytest.raises(MemoryError, match=r"evaluation\.memory_mib: 1; .* take 0\.7 MiB, and the"):
        await device.open(Big())
    device.matches.obey(CloseNetwork(first.id))
    await device.open(Big())


async def test_no_network_gets_more_positions_at_once_than_the_batch_limit() -> None:
    device, agent = DeviceStandIn(batch=3), SmallMemory(room=100)
    job = await device.start(await device.open(agent))
    device.play()
    await job.finished
    assert max(agent.batches) == 3
    assert device.alerts == []


async def test_a_loaded_network_is_a_copy_named_by_run_and_step(device: DeviceStandIn) -> None:
    live = FakeAgent()
    network = await device.open(live, step=41)
    assert (network.name, network.step, network.max_ply) == ("run@41", 41, Env().max_ply)
    assert device.networks._agents[network.id] is not live
    device.matches.obey(CloseNetwork(network.id))
    assert not device.networks._agents


async def test_a_network_whose_file_does_not_exist_is_refused(device: DeviceStandIn) -> None:
    missing = OpenNetwork("/nowhere")
    await asyncio.to_thread(device.matches.obey, missing, FakeAgent(), 41)
    with pytest.raises(Exception, match="nowhere: no such file or folder"):
        await missing.finished


async def test_a_search_gets_the_same_answers_from_small_batches() -> None:
    """The parts of a batch differ in the largest number of legal moves."""
    many_drops = "4k4/9/9/9/9/9/9/9/4K4 b RBGSNLP 1"
    seen = [observe_sfen(sfen, 256) for sfen in (Position().sfen(), many_drops)]
    observation, mask = map(np.concatenate, zip(*seen, strict=True))
    answers = []
    for limit in (1, 2):
        device = DeviceStandIn(batch=limit)
        network = await device.open(FakeAgent())
        answers.append(device.networks.assess(network.id, observation, mask))
    assert answers[0][0].shape[1] > 100
    for small, large in zip(*answers, strict=True):
        assert np.array_equal(small, large)
