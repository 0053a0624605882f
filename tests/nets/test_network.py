"""All kinds of networks: shapes, gradients and initial weights."""

import pytest
import torch

from keisei.nets.registry import build, kinds


@pytest.mark.parametrize("kind", kinds())
def test_a_network_returns_logits_and_all_its_weights_learn(
    kind: str, planes: torch.Tensor
) -> None:
    net = build(kind, blocks=2, channels=32)
    for _ in range(2):  # zero weights block the gradient in the first step
        policy, outcome = net(planes)
        assert policy.shape == (16, 2187)
        assert outcome.shape == (16, 3)
        torch.optim.SGD(net.parameters(), 0.1).zero_grad()
        (policy.square().mean() + outcome[:, 0].mean() + policy[:, 5].mean()).backward()
        torch.optim.SGD(net.parameters(), 0.1).step()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("kind", kinds())
def test_a_new_network_has_a_nearly_uniform_policy_and_outcome(
    kind: str, planes: torch.Tensor
) -> None:
    policy, outcome = build(kind, blocks=10, channels=32)(planes)
    assert policy.std() < 0.1
    assert (outcome.softmax(1) - 1 / 3).abs().max() < 0.2
