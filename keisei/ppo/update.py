"""Computes the PPO loss and takes one step of the optimiser."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from keisei.nets.policy import legal_log_probs
from keisei.ppo.ranks import ALONE, Ranks

STATS = (
    "loss_policy",
    "loss_value",
    "entropy",
    "entropy_ratio",
    "kl",
    "clip_fraction",
    "ratio_error",
)
"""Names of what ``ppo_loss`` measures, in order."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B plies to learn from."""

    observation: Tensor
    """uint8[B, 131]"""
    mask: Tensor
    """int64[B, 35] packed legal actions"""
    choice: Tensor
    """int16[B] column of the action among ``legal_columns(mask)``"""
    log_prob: Tensor
    """float32[B] log-probability of the action when it was played"""
    advantage: Tensor
    """float32[B] as ``scale_advantages`` returns it"""
    target: Tensor
    """float32[B, 3] win, draw, loss"""
    weight: Tensor
    """float32[B] 1 for the learner's plies, 0 for a frozen opponent's"""

    def select(self, index: Tensor) -> "Batch":
        """Return the plies in the rows ``index: int64[M]``."""
        return Batch(*(getattr(self, f.name)[index] for f in fields(self)))


def ppo_loss(
    policy: Tensor,
    outcome: Tensor,
    legal: Tensor,
    batch: Batch,
    clip: float,
    value_coefficient: float,
    entropy_weight: float,
) -> tuple[Tensor, Tensor]:
    """Return the loss ``[]`` to minimise and ``STATS`` (detached), averaged over plies of weight 1.

    ``policy[B, 2187]`` and ``outcome[B, 3]`` are logits, ``legal[B, L]`` is ``legal_columns`` of
    the batch. The loss adds the clipped surrogate (Schulman et al., 2017), the cross-entropy of the
    value and the entropy bonus.
    """
    share = batch.weight / batch.weight.sum().clamp(min=1)
    log_probs = legal_log_probs(policy, legal)
    log_prob = log_probs.gather(1, batch.choice.long()[:, None])[:, 0]
    log_ratio = log_prob - batch.log_prob
    ratio = log_ratio.exp()
    gain = torch.minimum(ratio * batch.advantage, ratio.clamp(1 - clip, 1 + clip) * batch.advantage)
    # Probabilities by softmax: ten times faster than exp where padding makes that underflow.
    entropy = -(log_probs.softmax(1) * log_probs).sum(1)
    cross = -(batch.target * outcome.log_softmax(1)).sum(1)
    loss = (share * (value_coefficient * cross - gain - entropy_weight * entropy)).sum()
    with torch.no_grad():
        most = (legal >= 0).sum(1).clamp(min=2).float().log()
        kl = ratio - 1 - log_ratio
        error = (ratio - 1).abs()
        clipped = (error > clip).float()
        rows = torch.stack((-gain, cross, entropy, entropy / most, kl, clipped, error))
        return loss, (rows * share).sum(1)


def optimise(
    net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, grad_clip: float
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of ``loss`` and take one step, as ``descend`` does.

    Returns the gradient norm, and 1 if the step was skipped.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return descend(net, optimizer, loss.detach(), grad_clip)


def descend(
    net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, grad_clip: float
) -> tuple[Tensor, Tensor]:
    """Take one step with the gradients in ``net``; skip it if they or the loss are not finite.

    Returns the gradient norm before clipping, and 1 if the step was skipped. Nothing waits for the
    device: a fused optimiser reads ``found_inf`` itself, as under a gradient scaler, and then
    leaves weights, moments and step counts as they are.
    """
    norm = nn.utils.clip_grad_norm_(net.parameters(), grad_clip)
    skipped = (~(torch.isfinite(norm) & torch.isfinite(loss))).float()
    optimizer.found_inf = skipped  # type: ignore[attr-defined]
    optimizer.step()
    return norm, skipped


def make_optimizer(net: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Return the optimiser that ``descend`` expects. The caller sets its learning rate."""
    return torch.optim.AdamW(net.parameters(), weight_decay=weight_decay, fused=True)


def scale_advantages(
    advantage: Tensor, weight: Tensor, floor: float = 1e-3, ranks: Ranks = ALONE
) -> Tensor:
    """Return the advantages divided by their root mean square, or by ``floor`` if that is larger.

    The mean is not subtracted. It runs over the learned plies of all ``ranks``. The floor keeps a
    rollout in which nothing happens from becoming noise: its advantages are almost zero.
    """
    sums = torch.stack(((weight * advantage.square()).sum(), weight.sum()))
    squares, plies = ranks.sum(sums).unbind()
    mean_square = squares / plies.clamp(min=1)
    return advantage / mean_square.sqrt().clamp(min=floor)


class Sums:
    """Sums over the minibatches of an iteration, on the device, without the skipped ones."""

    def __init__(self, device: torch.device) -> None:
        self._stats = torch.zeros(len(STATS), device=device)
        self._norm = torch.zeros((), device=device)
        self._skipped = torch.zeros((), device=device)
        self._worst = torch.zeros((), device=device)
        self._first = torch.zeros((), device=device)
        self._count = 0

    def add(self, stats: Tensor, norm: Tensor, skipped: Tensor, in_a_row: Tensor) -> None:
        """Add a minibatch.

        ``stats`` are its ``STATS``, ``norm`` the gradient norm, ``skipped`` 1 or 0; ``in_a_row``
        counts the skipped minibatches up to this one.
        """
        good = skipped == 0
        self._stats += torch.where(good, stats, 0)
        self._norm += torch.where(good, norm, 0)
        self._skipped += skipped
        self._worst = torch.maximum(self._worst, in_a_row)
        if self._count == 0:
            self._first = stats[STATS.index("ratio_error")]
        self._count += 1

    def means(self) -> dict[str, Tensor]:
        """Return the means by metric. ``ratio_error`` is that of the first minibatch."""
        counted = (self._count - self._skipped).clamp(min=1)
        means = dict(zip(STATS, self._stats / counted, strict=True))
        return means | {
            "ratio_error": self._first,
            "grad_norm": self._norm / counted,
            "skipped": self._skipped,
            "skipped_in_a_row": self._worst,
        }
