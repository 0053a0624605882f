"""Trains a network on recorded games: it learns to predict their moves and results."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keisei.config import PPO
from keisei.nets.policy import evaluate, legal_columns, legal_log_probs
from keisei.ppo.checkpoint import to_cpu
from keisei.ppo.update import make_optimizer, optimise
from keisei.records import GameRecord, Positions

SMOOTHING = 0.05
"""Share of a result's probability that is spread evenly over win, draw and loss.

Without smoothing, a network that sees no drawn game learns that draws are impossible. The first
draw then costs dozens of nats.
"""


@dataclass(frozen=True, slots=True)
class Score:
    """Measures of how well a network predicts games."""

    accuracy: float
    """Share of positions in which the network's most probable move was played."""
    loss_policy: float
    """Mean cross-entropy of the move that was played, in nats."""
    loss_value: float
    """Mean cross-entropy of the result, in nats; NaN if no result is known."""

    def loss(self, value_coefficient: float) -> float:
        """Return the sum of both losses, weighted as in training. An unknown loss counts as 0."""
        known = 0.0 if math.isnan(self.loss_value) else self.loss_value
        return self.loss_policy + value_coefficient * known


def hold_out(
    games: Sequence[GameRecord], share: float, seed: int
) -> tuple[list[GameRecord], list[GameRecord]]:
    """Split games at random into games to learn from and a ``share`` of held-out games.

    Each part gets at least one game. Whole games are held out, not positions, because two positions
    of a game share its result and most of the board. Repeated games count once. Raises ValueError
    for fewer than two different games.
    """
    different = list({(game.start, game.moves): game for game in games}.values())
    if len(different) < 2:
        raise ValueError(f"two different games are needed, there is {len(different)}")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(different))
    shuffled = [different[i] for i in order]
    held = min(max(1, round(share * len(different))), len(different) - 1)
    return shuffled[held:], shuffled[:held]


@dataclass(frozen=True, slots=True)
class Examination:
    """The score of a network on held-out games during its training."""

    epoch: float
    """Number of passes over the learned games so far; fractional if training ended within one."""
    score: Score
    loss: float
    """``Score.loss`` with training's value coefficient. The best network has the lowest loss."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of ``train``."""

    weights: dict[str, Tensor]
    """Weights of the best network, on the CPU."""
    best: Examination
    examinations: tuple[Examination, ...]
    """All examinations, earliest first. The first one is that of the untrained network."""


def train(
    net: nn.Module,
    learned: Positions,
    held_out: Positions,
    ppo: PPO,
    *,
    epochs: int,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    should_stop: Callable[[], bool],
    on_minibatch: Callable[[int, Tensor], None],
    on_examination: Callable[[Examination], None],
) -> Trained:
    """Train ``net`` on the learned positions; return the weights that predict held-out ones best.

    The network is examined before the first minibatch, after each epoch and at the end.
    ``on_minibatch`` gets the number of minibatches so far and the tensor that ``teach`` yields.
    Training ends early when ``should_stop`` returns True after a minibatch.
    """
    examinations: list[Examination] = []
    kept: dict[str, Tensor] = {}

    def examine_net(epoch: float) -> None:
        score = examine(net, held_out, ppo, device, dtype)
        found = Examination(epoch, score, score.loss(ppo.value_coefficient))
        if not examinations or found.loss < min(earlier.loss for earlier in examinations):
            kept.update(to_cpu(net.state_dict()))
        examinations.append(found)
        on_examination(found)

    examine_net(0)
    parts, done = minibatches(learned, ppo), 0
    steps = teach(net, learned, ppo, epochs=epochs, seed=seed, device=device, dtype=dtype)
    for done, means in enumerate(steps, 1):
        on_minibatch(done, means)
        if done % parts == 0:
            examine_net(done // parts)
        if should_stop():
            break
    if done % parts:
        examine_net(round(done / parts, 2))
    return Trained(kept, min(examinations, key=lambda found: found.loss), tuple(examinations))


def supervised_losses(
    policy: Tensor,
    outcome: Tensor,
    legal: Tensor,
    action: Tensor,
    result: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """Return four rows ``float32[4, B]`` with a number for each position.

    The rows are the policy's loss, the value's loss (0 where the result is unknown), whether the
    result is known (1 or 0), and whether the most probable move was played (1 or 0).

    ``policy[B, 2187]`` and ``outcome[B, 3]`` are logits, ``legal[B, L]`` comes from
    ``legal_columns``. ``action[B]`` is legal. ``result[B]`` is WIN, DRAW, LOSS (columns of
    ``outcome``) or UNKNOWN. The share ``smoothing`` of a known result's probability is spread
    evenly over win, draw and loss.
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
    """Train ``net`` on the positions; yield a tensor after each minibatch.

    There are ``epochs * minibatches(..)`` minibatches. Each yielded tensor is ``float32[4]`` on the
    device: the means of ``supervised_losses`` over the minibatch, with results smoothed by
    ``SMOOTHING``. The learning rate changes linearly from ``ppo.learning_rate`` to
    ``ppo.learning_rate_final``. On a CPU the same arguments and the same number of torch threads
    give the same weights.
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
    """Return the number of minibatches in an epoch. The minibatches have nearly equal sizes."""
    return max(1, round(len(positions) / ppo.minibatch))


@torch.no_grad()
def examine(
    net: nn.Module, positions: Positions, ppo: PPO, device: torch.device, dtype: torch.dtype
) -> Score:
    """Measure how well ``net`` predicts the positions."""
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
