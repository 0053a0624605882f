"""A learner's state goes into a checkpoint and comes back."""

import numpy as np
import pytest
import torch

from keisei.nets.registry import build
from keisei.ppo.checkpoint import load_moments, moments, pack_arrays, to_cpu, unpack_arrays
from keisei.ppo.update import make_optimizer

from .small_learner import iterate, learner


def test_a_checkpoint_is_a_copy() -> None:
    one = learner()
    taken = one.tensors()
    before = {part: {k: v.clone() for k, v in group.items()} for part, group in taken.items()}
    iterate(one)
    for part, group in before.items():
        assert all(torch.equal(v, taken[part][k]) for k, v in group.items())


def test_a_checkpoint_of_another_shape_is_refused() -> None:
    one = learner()
    with pytest.raises(ValueError, match=r"checkpoint: env\.games: \d+ bytes, expected \d+ bytes"):
        learner(**{"env.games": 8}).load(one.tensors(), one.state())
    with pytest.raises(ValueError, match="weights do not fit"):
        learner(**{"net.channels": 16}).load_weights(one.tensors()["weights"])
    with pytest.raises(ValueError, match=r"has format 0, but .* only from format 2; .*--init"):
        one.load(one.tensors(), one.state() | {"format": 0})


def test_arrays_of_any_dtype_come_back_with_shape_and_dtype() -> None:
    record = np.zeros(3, [("board", np.int8, 4), ("ply", np.int16)])
    record["board"], record["ply"] = np.arange(12).reshape(3, 4), (1, 2, 3)
    arrays = {"env": {"games": record}, "recorder": {"moves": np.arange(6, dtype=np.uint64)}}
    packed = pack_arrays(arrays)
    assert {name: tensor.dtype for name, tensor in packed.items()} == {
        "env.games": torch.uint8,
        "recorder.moves": torch.uint8,
    }
    like = {
        owner: {name: np.zeros_like(array) for name, array in group.items()}
        for owner, group in arrays.items()
    }
    found = unpack_arrays(packed, like)
    for owner, group in arrays.items():
        for name, array in group.items():
            np.testing.assert_array_equal(found[owner][name], array)
            assert found[owner][name].dtype == array.dtype


def test_a_missing_array_is_refused() -> None:
    with pytest.raises(ValueError, match=r"checkpoint: env\.games: nothing, expected 3 bytes"):
        unpack_arrays({}, {"env": {"games": np.zeros(3, np.uint8)}})


def test_moments_are_laid_out_in_memory_as_their_parameters_are() -> None:
    """Files keep no layout; the fused optimiser pairs parameter and moments by memory order."""
    net = build("se_resnet", blocks=1, channels=16, seed=1)
    optimizer = make_optimizer(net, 0.0)
    policy, outcome = net(torch.ones(2, 48, 9, 9))
    (policy.square().mean() + outcome.square().mean()).backward()
    optimizer.step()
    saved = {name: tensor.contiguous() for name, tensor in to_cpu(moments(optimizer)).items()}
    again = make_optimizer(net, 0.0)
    load_moments(again, net, saved)
    channels_last = 0
    for parameter, state in again.state.items():
        assert state["exp_avg"].stride() == parameter.stride()
        channels_last += not parameter.is_contiguous()
    assert channels_last
    for name, tensor in moments(again).items():
        assert torch.equal(tensor, saved[name])
