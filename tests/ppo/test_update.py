"""The PPO loss and the optimiser's step."""

import numpy as np
import pytest
import torch

from keisei.env import VectorEnv
from keisei.nets.policy import evaluate, legal_columns, legal_log_probs
from keisei.nets.registry import build
from keisei.ppo.update import STATS, Batch, make_optimizer, optimise, ppo_loss, scale_advantages

GAMES = 64


@pytest.fixture
def net() -> torch.nn.Module:
    return build("se_resnet", blocks=1, channels=16, seed=1)


@pytest.fixture
def batch(net: torch.nn.Module) -> Batch:
    """Return plies with random advantages and targets, and the network's own log-probabilities."""
    env = VectorEnv(GAMES, seed=2)
    env.stagger()
    generator = torch.Generator().manual_seed(3)
    observation, mask = torch.tensor(env.observation), torch.tensor(env.mask.view(np.int64))
    legal = legal_columns(mask)
    with torch.no_grad():
        log_probs = legal_log_probs(evaluate(net, observation, torch.float32)[0], legal)
    return Batch(
        observation=observation,
        mask=mask,
        choice=torch.zeros(GAMES, dtype=torch.int16),
        log_prob=log_probs[:, 0],
        advantage=torch.randn(GAMES, generator=generator),
        target=torch.rand(GAMES, 3, generator=generator).softmax(1),
        weight=torch.ones(GAMES),
        proven=torch.zeros(GAMES, dtype=torch.bool),
    )


def loss_of(net: torch.nn.Module, batch: Batch, **changed: float) -> tuple[torch.Tensor, dict]:
    policy, outcome = evaluate(net, batch.observation, torch.float32)
    weights = {"clip": 0.2, "value_coefficient": 1.0, "entropy_weight": 0.01} | changed
    loss, stats = ppo_loss(policy, outcome, legal_columns(batch.mask), batch, **weights)
    return loss, dict(zip(STATS, stats.tolist(), strict=True))


def replaced(batch: Batch, **changed: torch.Tensor) -> Batch:
    names = Batch.__dataclass_fields__
    return Batch(**{name: changed.get(name, getattr(batch, name)) for name in names})


def test_before_the_first_step_the_ratio_is_one(net: torch.nn.Module, batch: Batch) -> None:
    stats = loss_of(net, batch)[1]
    assert stats["ratio_error"] < 1e-5
    assert stats["kl"] == pytest.approx(0, abs=1e-6)
    assert stats["clip_fraction"] == 0
    assert stats["entropy_ratio"] == pytest.approx(1, abs=0.01)
    assert stats["loss_policy"] == pytest.approx(-batch.advantage.mean().item(), abs=1e-5)


def test_good_moves_become_likelier_and_the_value_nears_its_target(
    net: torch.nn.Module, batch: Batch
) -> None:
    before = loss_of(net, batch)[1]
    optimizer = make_optimizer(net, 0.0)
    for _ in range(30):
        optimise(net, optimizer, loss_of(net, batch, entropy_weight=0.0)[0], 1.0)
    after = loss_of(net, batch)[1]
    policy = evaluate(net, batch.observation, torch.float32)[0]
    log_prob = legal_log_probs(policy, legal_columns(batch.mask))[:, 0]
    gain = ((log_prob - batch.log_prob) * batch.advantage).mean()
    assert gain > 0.02
    assert after["loss_policy"] < before["loss_policy"] - 0.02
    assert after["loss_value"] < before["loss_value"]


def test_the_entropy_bonus_evens_the_probabilities_out(batch: Batch) -> None:
    generator = torch.Generator().manual_seed(4)
    policy = 3 * torch.randn(GAMES, 2187, generator=generator)
    entropies = []
    for _ in range(2):
        policy = policy.detach().requires_grad_()
        still = replaced(batch, advantage=torch.zeros(GAMES))
        outcome, legal = torch.zeros(GAMES, 3), legal_columns(batch.mask)
        loss, stats = ppo_loss(policy, outcome, legal, still, 0.2, 0.0, 1.0)
        entropies.append(stats[STATS.index("entropy")])
        policy = policy - torch.autograd.grad(loss, policy)[0]
    assert entropies[1] > entropies[0] + 1e-3


def test_the_clip_stops_the_gradient_of_moves_far_from_the_old_policy(
    net: torch.nn.Module, batch: Batch
) -> None:
    far = replaced(
        batch, log_prob=batch.log_prob - 0.5, advantage=torch.ones(GAMES)
    )  # ratio 1.65 with a positive advantage: clipped
    loss, stats = loss_of(net, far, value_coefficient=0.0, entropy_weight=0.0)
    assert stats["clip_fraction"] == 1
    loss.backward()
    assert all(not p.grad.any() for p in net.parameters())


def test_plies_of_a_frozen_opponent_have_exactly_no_gradient(
    net: torch.nn.Module, batch: Batch
) -> None:
    weight = torch.ones(GAMES)
    weight[GAMES // 2 :] = 0
    halves = replaced(batch, weight=weight)
    garbage = replaced(
        halves,
        advantage=torch.where(weight > 0, batch.advantage, 1e6),
        log_prob=torch.where(weight > 0, batch.log_prob, -3.0),
        target=torch.where(weight[:, None] > 0, batch.target, torch.tensor([1.0, 0, 0])),
    )
    gradients = []
    for given in (halves, garbage):
        net.zero_grad()
        loss_of(net, given)[0].backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))

    nothing = replaced(batch, weight=torch.zeros(GAMES))
    net.zero_grad()
    loss_of(net, nothing)[0].backward()
    assert all(not p.grad.any() for p in net.parameters())


def test_a_proven_ply_teaches_the_mating_move_and_nothing_else(batch: Batch) -> None:
    """The gradient is that of a cross-entropy, whatever advantage, old policy and entropy are."""
    proven = torch.arange(GAMES) < GAMES // 2
    mates = replaced(
        batch,
        proven=proven,
        advantage=torch.where(proven, -1e6, 0),
        log_prob=torch.where(proven, -200.0, batch.log_prob),
    )
    legal = legal_columns(batch.mask)
    policy = torch.randn(GAMES, 2187, generator=torch.Generator().manual_seed(4))
    policy = policy.requires_grad_()
    loss, stats = ppo_loss(policy, torch.zeros(GAMES, 3), legal, mates, 0.2, 0.0, 0.5)
    (found,) = torch.autograd.grad(loss, policy)
    log_probs = legal_log_probs(policy, legal)
    (expected,) = torch.autograd.grad(-log_probs[proven, 0].sum() / GAMES, policy)
    torch.testing.assert_close(found[proven], expected[proven])
    assert found[~proven].any()
    named = dict(zip(STATS, stats.tolist(), strict=True))
    assert named["loss_policy"] == pytest.approx(-log_probs[proven, 0].sum().item() / GAMES)


def test_a_proven_ply_counts_as_ratio_one(net: torch.nn.Module, batch: Batch) -> None:
    far = replaced(batch, log_prob=batch.log_prob - 0.5)
    proven = torch.arange(GAMES) < GAMES // 2
    every = loss_of(net, far)[1]
    half = loss_of(net, replaced(far, proven=proven))[1]
    assert every["clip_fraction"] == 1
    assert half["clip_fraction"] == 0.5
    for name in ("kl", "ratio_error"):
        assert half[name] == pytest.approx(every[name] / 2, rel=1e-4)
    assert half["entropy"] == every["entropy"]


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_step_without_a_finite_loss_changes_nothing(
    net: torch.nn.Module, batch: Batch, poison: float
) -> None:
    optimizer = make_optimizer(net, 0.1)
    optimise(net, optimizer, loss_of(net, batch)[0], 0.5)
    before = [p.detach().clone() for p in net.parameters()]
    moments = [v.clone() for state in optimizer.state.values() for v in state.values()]
    bad = replaced(batch, advantage=torch.full((GAMES,), poison))
    norm, skipped = optimise(net, optimizer, loss_of(net, bad)[0], 0.5)
    assert skipped == 1
    assert not torch.isfinite(norm) or not torch.isfinite(loss_of(net, bad)[0])
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    after = [v for state in optimizer.state.values() for v in state.values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, after, strict=True))
    assert optimise(net, optimizer, loss_of(net, batch)[0], 0.5)[1] == 0
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_advantages_are_scaled_by_what_the_learner_played_and_never_blown_up() -> None:
    weight = torch.tensor([1.0, 1.0, 0.0])
    scaled = scale_advantages(torch.tensor([3.0, -3.0, 100.0]), weight)
    assert scaled.tolist() == pytest.approx([1, -1, 100 / 3])
    assert scale_advantages(torch.full((3,), 1e-5), weight).abs().max() < 0.02
    assert scale_advantages(torch.zeros(3), weight).tolist() == [0, 0, 0]
