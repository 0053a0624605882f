"""Computes advantages and value targets for games in which two players move alternately.

All numbers are from the point of view of the side to move. Therefore, each step back by one ply
changes the sign of a value and swaps win and loss. The rows of an array are the T plies, and the
columns are the N games. ``terminated`` and ``truncated`` are ``bool[T, N]``. Other arrays are
``float32[T, N]`` if no other shape is given.
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
        reward: result of the move for the side that made the move: +1 for a win, -1 for a loss,
            else 0. Numbers between -1 and 1 are allowed too: a win that counts half gives 0.5.
        terminated: whether the rules ended the game after the move. If so, ``next_value`` is not
            used.
        truncated: whether the game was cut after the move. If so, ``next_value`` is used, but later
            rows are not.
        value: value of the position before the move, for the side that makes the move.
        next_value: value of the position after the move, for the opponent of the side that made
            the move. If the game was cut, this position is the last position of the cut game.
        gamma: discount per ply.
        lam: the parameter lambda of generalised advantage estimation.
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
    """Return the value head's targets ``[T, N, 3]``: probabilities of win, draw and loss.

    The targets are lambda-returns. ``next_outcome[T, N, 3]`` contains the probabilities of win,
    draw and loss in the positions after the moves.
    ``next_value`` of ``negamax_gae`` belongs to the same positions. The discount moves probability
    from win and loss to draw. Therefore P(win) - P(loss) of a target is the sum of value and
    advantage in ``negamax_gae``.
    """
    final = _as_outcome(reward)
    cut = truncated.clone()
    cut[-1] = True  # there is no later row, so this target uses only ``next_outcome``
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
    """Return rewards as probabilities of win, draw and loss.

    For example, the reward 0.5 is half win and half draw.
    """
    return torch.stack((reward.clamp(min=0), 1 - reward.abs(), -reward.clamp(max=0)), -1)
