"""Computes advantages and value targets for games in which two players move alternately.

All numbers are in the view of the side to move. Each step back in time therefore changes the sign
of a value and swaps win and loss. Arrays are ``float32[T, N]`` (plies, games); ``terminated`` and
``truncated`` are ``bool[T, N]``.
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
        reward: result for the side that made the move: +1 for a win, -1 for a loss, else 0. A win
            or loss that counts less is nearer to 0.
        terminated: whether the rules ended the game after the move. No value follows then.
        truncated: whether the game was cut after the move. Then the value of its last position
            follows, and the recursion stops.
        value: V(s_t) for the side that moves at s_t.
        next_value: V(s_{t+1}) for the opponent, who moves at s_{t+1}. Where the game was cut,
            s_{t+1} is its last position. In the last row, s_{t+1} is the position after the
            rollout. Ignored where ``terminated``.
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
    """Return the value head's targets ``[T, N, 3]``: lambda-returns as win/draw/loss probabilities.

    ``next_outcome[T, N, 3]`` are the probabilities in the positions that ``next_value`` of
    ``negamax_gae`` belongs to. The discount moves probability from win and loss to the draw.
    Therefore P(win) - P(loss) of a target equals the value plus the advantage.
    """
    final = _as_outcome(reward)
    cut = truncated.clone()
    cut[-1] = True  # in the last row the bootstrap has all the weight
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
    """Return rewards as win/draw/loss probabilities. A reward of size below 1 is partly a draw."""
    return torch.stack((reward.clamp(min=0), 1 - reward.abs(), -reward.clamp(max=0)), -1)
