"""Computes advantages and value targets for a game in which the opponent moves next.

All numbers are in the view of the side to move. So each step back in time changes the sign of a
value and swaps win and loss. Arrays are ``[T, N]`` (plies, games), float32; ``terminated`` and
``truncated`` are bool.
"""

import torch
from torch import Tensor


def negamax_gae(
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    value: Tensor,
    next_value: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Return generalised advantage estimates (Schulman et al., 2016) for a zero-sum game.

    Args:
        reward: result of the move for the side that made it: 0, +1 or -1; nearer to 0 for a win or
            loss that counts less.
        terminated: the game ended by the rules; no value follows.
        truncated: the game was cut; the value of its last position follows, the recursion stops.
        value: V(s_t) for the mover.
        next_value: V(s_{t+1}) for *its* mover, the opponent. Where the game was cut, s_{t+1} is its
            final position; in the last row, the position after the rollout. Ignored where
            terminated.
        gamma: discount per ply.
        lam: lambda of the estimate.
    """
    goes_on = gamma * (~terminated).float()
    delta = reward - goes_on * next_value - value
    carry = gamma * lam * (~(terminated | truncated)).float()
    advantage = torch.empty_like(delta)
    following = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        following = delta[t] - carry[t] * following
        advantage[t] = following
    return advantage


def outcome_targets(
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    next_outcome: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Return the value head's targets ``[T, N, 3]``: the lambda-return as a distribution.

    The last axis is win, draw, loss. ``next_outcome[T, N, 3]`` are the probabilities that belong to
    ``next_value`` of ``negamax_gae``. The discount moves probability from win and loss to the draw,
    so P(win) - P(loss) of a target equals V + A.
    """
    final = _as_outcome(reward)
    cut = truncated.clone()
    cut[-1] = True  # at the edge of the rollout the bootstrap has all the weight
    keep = torch.where(cut, 0.0, lam)[..., None]
    draw = torch.tensor([0.0, 1.0, 0.0], device=reward.device)
    target = torch.empty_like(next_outcome)
    following = torch.zeros_like(next_outcome[0])
    for t in range(len(reward) - 1, -1, -1):
        mixed = (1 - keep[t]) * next_outcome[t] + keep[t] * following
        seen = (gamma * mixed + (1 - gamma) * draw).flip(-1)  # flip swaps win and loss
        following = torch.where(terminated[t][:, None], final[t], seen)
        target[t] = following
    return target


def _as_outcome(reward: Tensor) -> Tensor:
    """Return win, draw, loss for each reward; a reward between 0 and +-1 is partly a draw."""
    return torch.stack((reward.clamp(min=0), 1 - reward.abs(), -reward.clamp(max=0)), -1)
