"""Turns a rollout into a training batch, and measures the value head on the rollout."""

import math

import torch
from torch import Tensor

from keisei.config import Settings
from keisei.nets.policy import outcome_value
from keisei.ppo.gae import negamax_gae, outcome_targets
from keisei.ppo.ranks import ALONE, Ranks
from keisei.ppo.rollout import Rollout
from keisei.ppo.update import Batch, scale_advantages


@torch.no_grad()
def prepare_batch(
    rollout: Rollout, settings: Settings, material: float, ranks: Ranks = ALONE
) -> tuple[Batch, dict[str, Tensor]]:
    """Return a flat batch with scaled advantages and value targets, and the result of ``summary``.

    For the advantages, ``material`` times the material balance is added to the values. If lambda
    is below 1, this hint rewards captures, even while few games end. The targets of the value head
    do not contain the hint.
    """
    gamma, lam = settings.ppo.gamma, settings.ppo.gae_lambda
    ends = rollout.reward, rollout.terminated, rollout.truncated
    outcome = rollout.outcome[:-1]
    next_outcome, next_material = rollout.following()
    value = outcome_value(outcome)
    hinted = value + material * rollout.material[:-1]
    next_hinted = outcome_value(next_outcome) + material * next_material
    advantage = negamax_gae(*ends, hinted, next_hinted, gamma, lam)
    target = outcome_targets(*ends, next_outcome, gamma, lam)
    batch = Batch(
        observation=rollout.observation.flatten(0, 1),
        mask=rollout.mask.flatten(0, 1),
        choice=rollout.choice.flatten(),
        log_prob=rollout.log_prob.flatten(),
        advantage=scale_advantages(advantage, rollout.weight, ranks=ranks).flatten(),
        target=target.flatten(0, 1),
        weight=rollout.weight.flatten(),
    )
    return batch, summary(outcome, advantage, target, value)


def summary(outcome: Tensor, advantage: Tensor, target: Tensor, value: Tensor) -> dict[str, Tensor]:
    """Measure the value head on plies from which the head has not learned yet.

    For T plies in each of N games, ``outcome[T, N, 3]`` contains the head's probabilities, and
    ``value[T, N]`` contains P(win) - P(loss). ``target[T, N, 3]`` and ``advantage[T, N]`` belong to
    the same plies. Each result is a scalar.
    """
    returns = outcome_value(target)
    variance = _variance(returns)
    cross = -(target * outcome.clamp(min=1e-6).log()).sum(-1).mean()
    rate = target.mean((0, 1))
    return {
        "explained_variance": 1 - _variance(returns - value) / variance,
        "return_variance": variance,
        "value_unseen": cross,
        "value_base_rate": -(rate * rate.clamp(min=1e-6).log()).sum(),
        "advantage_rms": advantage.square().mean().sqrt(),
        "draw_probability": outcome[..., 1].mean(),
    }


def _variance(values: Tensor) -> Tensor:
    """Return the sample variance; NaN for a single value, for which torch would print a warning."""
    return values.var() if values.numel() > 1 else values.new_full((), math.nan)
