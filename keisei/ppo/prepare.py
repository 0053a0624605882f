"""Turns a rollout into a training batch, and measures the value head on the rollout."""

import math

import torch
from torch import Tensor

from keisei.config import Settings
from keisei.nets.policy import outcome_value
from keisei.ppo.gae import negamax_gae, outcome_targets
from keisei.ppo.ranks import ALONE, Ranks
from keisei.ppo.rollout import Rollout, certain_win
from keisei.ppo.update import Batch, scale_advantages


@torch.no_grad()
def prepare_batch(
    rollout: Rollout, settings: Settings, material: float, ranks: Ranks = ALONE
) -> tuple[Batch, dict[str, Tensor]]:
    """Return a flat batch with scaled advantages and value targets, and the result of ``summary``.

    For the advantages, ``material`` times the material balance is added to the values. If lambda
    is below 1, this hint rewards captures, even while few games end. The targets of the value head
    do not contain the hint.

    A proven mate counts as a certain win, and nothing after the mating move changes this. The value
    head learns the win. The mating move has the advantage 0, because ``ppo_loss`` needs none.
    """
    gamma, lam = settings.ppo.gamma, settings.ppo.gae_lambda
    outcome, proven = rollout.outcome[:-1], rollout.proven[:-1]
    next_outcome, next_material, next_proven = rollout.following()
    # A proven win ends the estimates of the earlier plies, as the last position of a cut game does.
    ends = rollout.reward, rollout.terminated, rollout.truncated | next_proven
    value = outcome_value(outcome)
    hinted = value + material * rollout.material[:-1]
    next_hinted = outcome_value(next_outcome) + material * next_material
    advantage = negamax_gae(*ends, hinted, next_hinted, gamma, lam).masked_fill(proven, 0)
    target = certain_win(outcome_targets(*ends, next_outcome, gamma, lam), proven)
    chosen = rollout.weight * ~proven
    batch = Batch(
        observation=rollout.observation.flatten(0, 1),
        mask=rollout.mask.flatten(0, 1),
        choice=rollout.choice.flatten(),
        log_prob=rollout.log_prob.flatten(),
        advantage=scale_advantages(advantage, chosen, ranks=ranks).flatten(),
        target=target.flatten(0, 1),
        weight=rollout.weight.flatten(),
        proven=proven.flatten(),
    )
    return batch, summary(outcome, advantage, target, value) | mate_summary(batch, ranks)


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


def mate_summary(batch: Batch, ranks: Ranks = ALONE) -> dict[str, Tensor]:
    """Measure how often the learner had a proven mate, and how well its policy knew the mate.

    Each result is a scalar over the learner's plies on all ``ranks``. The probability is NaN if no
    ply was proven.
    """
    proven = batch.weight * batch.proven
    sums = torch.stack(((proven * batch.log_prob.exp()).sum(), proven.sum(), batch.weight.sum()))
    probability, mates, plies = ranks.sum(sums).unbind()
    return {"mate_probability": probability / mates, "mates": mates / plies.clamp(min=1)}


def _variance(values: Tensor) -> Tensor:
    """Return the sample variance; NaN for a single value, for which torch would print a warning."""
    return values.var() if values.numel() > 1 else values.new_full((), math.nan)
