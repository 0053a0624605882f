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
"""Names of the numbers that ``ppo_loss`` measures, in the order in which it returns them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B plies to learn from."""

    observation: Tensor
    """uint8[B, 131] Compact observations."""
    mask: Tensor
    """int64[B, 35] Legal actions as packed bits."""
    choice: Tensor
    """int16[B] Column of the played action in ``legal_columns(mask)``."""
    log_prob: Tensor
    """float32[B] Log-probability of the action when it was played."""
    advantage: Tensor
    """float32[B] Advantages as ``scale_advantages`` returns them."""
    target: Tensor
    """float32[B, 3] Target probabilities of win, draw and loss."""
    weight: Tensor
    """float32[B] 1 for plies of the learner, 0 for plies of a frozen opponent."""

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
    """Return the loss ``[]`` to minimise, and the numbers that ``STATS`` names.

    Both are means over the plies of weight 1; the numbers carry no gradients. ``policy[B, 2187]``
    and ``outcome[B, 3]`` are logits, ``legal[B, L]`` is ``legal_columns`` of the batch. The loss
    adds the clipped surrogate (Schulman et al., 2017), the cross-entropy of the value and the
    entropy bonus.
    """
    share = batch.weight / batch.weight.sum().clamp(min=1)
    log_probs = legal_log_probs(policy, legal)
    log_prob = log_probs.gather(1, batch.choice.long()[:, None])[:, 0]
    log_ratio = log_prob - batch.log_prob
    ratio = log_ratio.exp()
    gain = torch.minimum(ratio * batch.advantage, ratio.clamp(1 - clip, 1 + clip) * batch.advantage)
    # Softmax computes the probabilities ten times faster than exp, which underflows at padding.
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
    """Compute the gradients of ``loss`` and take one step. Return the results of ``descend``."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return descend(net, optimizer, loss.detach(), grad_clip)


def descend(
    net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, grad_clip: float
) -> tuple[Tensor, Tensor]:
    """Take one step with the gradients in ``net``; skip it if a gradient or the loss is not finite.

    Returns the gradient norm before clipping, and 1 if the step was skipped, else 0. The CPU does
    not wait for the device, because a fused optimiser itself reads ``found_inf``, as under a
    gradient scaler. If it is 1, the optimiser changes no weights, moments or step counts.
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

    The root mean square is that of the learned plies of all ``ranks``. The mean is not subtracted.
    If nothing happens in a rollout, its advantages are almost zero. Without the floor they would be
    scaled up to noise.
    """
    sums = torch.stack(((weight * advantage.square()).sum(), weight.sum()))
    squares, plies = ranks.sum(sums).unbind()
    mean_square = squares / plies.clamp(min=1)
    return advantage / mean_square.sqrt().clamp(min=floor)


class Sums:
    """Sums, on the device, over those minibatches of an iteration that were not skipped."""

    def __init__(self, device: torch.device) -> None:
        self._stats = torch.zeros(len(STATS), device=device)
        self._norm = torch.zeros((), device=device)
        self._skipped = torch.zeros((), device=device)
        self._worst = torch.zeros((), device=device)
        self._first = torch.zeros((), device=device)
        self._count = 0

    def add(self, stats: Tensor, norm: Tensor, skipped: Tensor, in_a_row: Tensor) -> None:
        """Add a minibatch.

        ``stats`` are the numbers that ``STATS`` names, ``norm`` is the gradient norm, and
        ``skipped`` is 1 or 0. ``in_a_row`` is the number of consecutive skipped minibatches up to
        this one.
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
        """Return the metrics by name, most of them as means over the minibatches.

        ``ratio_error`` is that of the first minibatch, ``skipped`` is a sum, and
        ``skipped_in_a_row`` is a maximum.
        """
        counted = (self._count - self._skipped).clamp(min=1)
        means = dict(zip(STATS, self._stats / counted, strict=True))
        return means | {
            "ratio_error": self._first,
            "grad_norm": self._norm / counted,
            "skipped": self._skipped,
            "skipped_in_a_row": self._worst,
        }
