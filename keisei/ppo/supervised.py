"""Trains a network to predict the moves and results of recorded games."""

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

Without smoothing, a network that sees no drawn game learns that draws are impossible. The loss for
the network's first drawn game is then dozens of nats.
"""


@dataclass(frozen=True, slots=True)
class Score:
    """Numbers that tell how well a network predicts games."""

    accuracy: float
    """Share of positions in which the network's most probable move was played."""
    loss_policy: float
    """Mean cross-entropy of the played moves, in nats."""
    loss_value: float
    """Mean cross-entropy of the known results, in nats. NaN if no result is known."""

    def loss(self, value_coefficient: float) -> float:
        """Return ``loss_policy`` + ``value_coefficient`` * ``loss_value``.

        A ``loss_value`` of NaN is replaced by 0.
        """
        known = 0.0 if math.isnan(self.loss_value) else self.loss_value
        return self.loss_policy + value_coefficient * known


def hold_out(
    games: Sequence[GameRecord], share: float, seed: int
) -> tuple[list[GameRecord], list[GameRecord]]:
    """Split games at random into two lists: games to learn from, and held-out games.

    ``share`` is the share of the games that is held out. Each list gets at least one game. All
    positions of a game go to the same list, because they have the same result and similar boards.
    If a game occurs several times, it is used only once. Raises ValueError if there are fewer than
    two different games.
    """
    different = list({(game.start, game.moves): game for game in games}.values())
    if len(different) < 2:
        raise ValueError(f"two different games or more are needed (got {len(different)})")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(different))
    shuffled = [different[i] for i in order]
    held = min(max(1, round(share * len(different))), len(different) - 1)
    return shuffled[held:], shuffled[:held]


@dataclass(frozen=True, slots=True)
class Examination:
    """The score of a network on held-out games at one moment of the training."""

    epoch: float
    """Number of passes over the games so far; fractional if training ended during a pass."""
    score: Score
    loss: float
    """Result of ``score.loss`` with the training's value coefficient. Lower is better."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of ``train``."""

    weights: dict[str, Tensor]
    """Weights with the lowest loss on held-out games, as tensors on the CPU."""
    best: Examination
    examinations: tuple[Examination, ...]
    """All examinations, the earliest first. The first examination is made before training."""


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
    """Train ``net`` on ``learned``; return the weights that predict ``held_out`` best.

    The network is examined before the first minibatch, after each epoch and at the end.
    ``on_minibatch`` gets the number of minibatches so far and the tensor that ``teach`` yields.
    ``should_stop`` is called after each minibatch. Training ends early if the call returns True.
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
    """Return four numbers for each of B positions, as a tensor ``float32[4, B]``.

    Row 0 is the policy's loss. Row 1 is the value's loss, or 0 if the result is unknown. Row 2 is 1
    if the result is known, else 0. Row 3 is 1 if the most probable move was played, else 0.

    ``policy[B, 2187]`` and ``outcome[B, 3]`` are logits. ``legal`` is the result of
    ``legal_columns``. ``action[B]`` contains the played moves, which must be legal. ``result[B]``
    contains WIN, DRAW or LOSS (columns of ``outcome``), or UNKNOWN. The share ``smoothing`` of a
    known result's probability is spread evenly over win, draw and loss.
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

    Each epoch has ``minibatches(positions, ppo)`` minibatches. Each yielded tensor is
    ``float32[4]`` on the device. The tensor contains the means of the rows of ``supervised_losses``
    over the minibatch, with ``SMOOTHING`` as ``smoothing``. The learning rate changes linearly from
    ``ppo.learning_rate`` to ``ppo.learning_rate_final``. On a CPU, calls with the same arguments
    and the same number of torch threads give the same weights.
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
    """Return the number of minibatches in an epoch. All minibatches have nearly the same size."""
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
