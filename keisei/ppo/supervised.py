"""Learning from other people's games, before self-play: the move played and the result."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keisei.config import PPO
from keisei.nets.policy import evaluate, legal_columns, legal_log_probs
from keisei.ppo.update import make_optimizer, optimise
from keisei.records import GameRecord, Positions

SMOOTHING = 0.05
"""Part of a result that is spread over win, draw and loss. Without it a collection without a draw
teaches that draws have no probability at all, and the first one costs dozens of nats."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well a network foretells games."""

    accuracy: float
    """Share of positions in which its most probable move was played."""
    loss_policy: float
    """Cross-entropy of the move, nats."""
    loss_value: float
    """Cross-entropy of the result, nats; NaN where no result is known."""

    def loss(self, value_coefficient: float) -> float:
        """The two losses as they are weighed in training."""
        known = 0.0 if math.isnan(self.loss_value) else self.loss_value
        return self.loss_policy + value_coefficient * known


def hold_out(
    games: Sequence[GameRecord], share: float, seed: int
) -> tuple[list[GameRecord], list[GameRecord]]:
    """Games to learn from and games to look at only, at least one of each, drawn by ``seed``.

    Games, not positions: two positions of a game share its result and most of the board. A game that
    is there twice counts once. Raises ValueError for fewer than two games.
    """
    different = list({(game.start, game.moves): game for game in games}.values())
    if len(different) < 2:
        raise ValueError(f"two different games are needed, there is {len(different)}")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(different))
    shuffled = [different[i] for i in order]
    held = min(max(1, round(share * len(different))), len(different) - 1)
    return shuffled[held:], shuffled[:held]


def supervised_losses(
    policy: Tensor,
    outcome: Tensor,
    legal: Tensor,
    action: Tensor,
    result: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """``float32[4, B]``: the policy's loss, the value's loss (0 where the result is unknown), whether
    the result is known, whether the most probable move was played.

    ``policy[B, 2187]`` and ``outcome[B, 3]`` are logits, ``legal[B, L]`` comes from ``legal_columns``;
    ``action[B]`` is legal, ``result[B]`` is WIN, DRAW, LOSS (columns of ``outcome``) or UNKNOWN.
    """
    log_probs = legal_log_probs(policy, legal)
    column = (legal == action[:, None]).byte().argmax(1, keepdim=True)
    cross_policy = -log_probs.gather(1, column)[:, 0]
    known = (result >= 0).float()
    cross_value = F.cross_entropy(
        outcome, result.clamp(min=0), reduction="none", label_smoothing=smoothing
    )
    hit = (log_probs.argmax(1, keepdim=True) == column)[:, 0].float()
    return torch.stack((cross_policy, cross_value * known, known, hit))


def teach(
    net: nn.Module,
    positions: Positions,
    ppo: PPO,
    *,
    epochs: int,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Iterator[Tensor]:
    """Train ``net`` on the positions; yields after each minibatch.

    What it yields is ``float32[4]`` on the device: means of ``supervised_losses`` over the minibatch,
    results smoothed by ``SMOOTHING``.
    There are ``epochs * minibatches(positions, ppo)`` of them. The learning rate falls linearly from
    ``ppo.learning_rate`` to ``ppo.learning_rate_final``. The same arguments and torch threads give the
    same weights on a CPU.
    """
    optimizer = make_optimizer(net, ppo.weight_decay)
    shuffling = torch.Generator().manual_seed(seed)
    parts = minibatches(positions, ppo)
    done, total = 0, epochs * parts
    for _ in range(epochs):
        for rows in torch.randperm(len(positions), generator=shuffling).tensor_split(parts):
            rate = ppo.learning_rate
            rate += (ppo.learning_rate_final - rate) * done / total
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses = _losses(net, positions, rows, device, dtype, SMOOTHING)
            means = losses.mean(1)
            value = means[1] / means[2].clamp(min=1e-6)
            optimise(net, optimizer, means[0] + ppo.value_coefficient * value, ppo.grad_clip)
            done += 1
            yield means.detach()


def minibatches(positions: Positions, ppo: PPO) -> int:
    """Parts of nearly equal size that an epoch is cut into."""
    return max(1, round(len(positions) / ppo.minibatch))


@torch.no_grad()
def examine(
    net: nn.Module, positions: Positions, ppo: PPO, device: torch.device, dtype: torch.dtype
) -> Score:
    """How well ``net`` foretells the positions."""
    sums = torch.zeros(4, dtype=torch.float64)
    for rows in torch.arange(len(positions)).split(ppo.minibatch):
        sums += _losses(net, positions, rows, device, dtype).sum(1).double().cpu()
    policy, value, known, hits = sums.tolist()
    count = len(positions)
    return Score(hits / count, policy / count, value / known if known else math.nan)


def _losses(
    net: nn.Module,
    positions: Positions,
    rows: Tensor,
    device: torch.device,
    dtype: torch.dtype,
    smoothing: float = 0.0,
) -> Tensor:
    index = rows.numpy()
    seen = torch.from_numpy(positions.observation[index]).to(device)
    mask = torch.from_numpy(positions.mask[index].view(np.int64)).to(device)
    action = torch.from_numpy(positions.action[index]).to(device, torch.int64)
    result = torch.from_numpy(positions.outcome[index]).to(device, torch.int64)
    policy, outcome = evaluate(net, seen, dtype)
    legal = legal_columns(mask)
    return supervised_losses(policy, outcome, legal, action, result, smoothing)
