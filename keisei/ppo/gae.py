"""Advantages and value targets when the opponent moves next.

Everything is in the view of the side to move, so each step back in time changes the sign of a value and
swaps win and loss. Arrays are ``[T, N]`` (plies, games), float32; ``terminated`` and ``truncated`` are bool.
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
    """Generalised advantage estimates (Schulman et al., 2016) with the sign of a zero-sum game.

    Args:
        reward: result of the move for the side that made it: +1, 0, -1, or less of a win or loss.
        terminated: the game ended by the rules: nothing follows.
        truncated: the game was cut: its value goes on, the recursion does not.
        value: V(s_t) for the mover.
        next_value: V(s_{t+1}) for *its* mover, the opponent; of the final position where the game was
            cut, of the position after the last ply in the last row. Ignored where terminated.
        gamma: discount a ply.
        lam: lambda.
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
    """Targets ``[T, N, 3]`` (win, draw, loss) of the value head: the lambda-return as a distribution.

    ``next_outcome[T, N, 3]`` are the probabilities that belong to ``next_value`` above. What the discount
    takes from win and loss goes to the draw, so P(win) - P(loss) of a target equals V + A.
    """
    final = _as_outcome(reward)
    cut = truncated.clone()
    cut[-1] = True  # the edge of the rollout: all weight on the bootstrap
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
    """Win, draw, loss of rewards: of +1, 0 and -1 one alone, in between in part a draw."""
    return torch.stack((reward.clamp(min=0), 1 - reward.abs(), -reward.clamp(max=0)), -1)
