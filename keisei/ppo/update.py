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
"""Names of the numbers in the second result of ``ppo_loss``, in the same order."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of B plies from which the network learns."""

    observation: Tensor
    """uint8[B, 131] Compact observations."""
    mask: Tensor
    """int64[B, 35] Legal actions as packed bits."""
    choice: Tensor
    """int16[B] Column of the played action in ``legal_columns(mask)``."""
    log_prob: Tensor
    """float32[B] Log-probability of the action during the rollout."""
    advantage: Tensor
    """float32[B] Advantages as ``scale_advantages`` returns them."""
    target: Tensor
    """float32[B, 3] Target probabilities of win, draw and loss."""
    weight: Tensor
    """float32[B] 1 for plies of the learner, 0 for plies of a frozen opponent."""
    proven: Tensor
    """bool[B] Whether ``choice`` is a proven mating move, which the policy did not choose."""

    def select(self, index: Tensor) -> "Batch":
        """Return a batch of M plies. ``index``, an ``int64[M]``, contains their row numbers."""
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
    """Return the loss, which is a scalar, and the numbers that ``STATS`` names.

    The loss and the numbers are means over the plies of weight 1. The numbers carry no gradients.
    ``policy[B, 2187]`` and ``outcome[B, 3]`` are the network's logits for the B plies of ``batch``.
    ``legal`` is ``legal_columns(batch.mask)``. The loss has three terms: the clipped surrogate
    (Schulman et al., 2017), the weighted cross-entropy of the outcome, and the entropy bonus.

    On proven plies, the cross-entropy of the mating move replaces the surrogate, and there is no
    entropy bonus: nothing is left to explore. The policy did not choose the mating move, so the
    ratio of a proven ply counts as 1 in ``kl``, ``clip_fraction`` and ``ratio_error``. ``entropy``
    and ``entropy_ratio`` are means over all plies.
    """
    share = batch.weight / batch.weight.sum().clamp(min=1)
    log_probs = legal_log_probs(policy, legal)
    log_prob = log_probs.gather(1, batch.choice.long()[:, None])[:, 0]
    log_ratio = (log_prob - batch.log_prob).masked_fill(batch.proven, 0)
    ratio = log_ratio.exp()
    gain = torch.minimum(ratio * batch.advantage, ratio.clamp(1 - clip, 1 + clip) * batch.advantage)
    gain = torch.where(batch.proven, log_prob, gain)
    # ``exp`` would underflow in padding columns, and would take ten times as long as ``softmax``.
    entropy = -(log_probs.softmax(1) * log_probs).sum(1)
    cross = -(batch.target * outcome.log_softmax(1)).sum(1)
    bonus = entropy_weight * entropy.masked_fill(batch.proven, 0)
    loss = (share * (value_coefficient * cross - gain - bonus)).sum()
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
    """Compute the gradients of ``loss`` and call ``descend``. Return the results of ``descend``."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return descend(net, optimizer, loss.detach(), grad_clip)


def descend(
    net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, grad_clip: float
) -> tuple[Tensor, Tensor]:
    """Take one optimiser step, or skip the step if the loss or a gradient is not finite.

    The gradients are taken from ``net``. Returns two scalar tensors: the gradient norm before
    clipping, and 1 if the step was skipped, else 0.

    The fused optimiser reads ``found_inf`` on the device, as it does for torch's gradient scaler.
    The CPU therefore does not wait for the device. If ``found_inf`` is 1, the optimiser changes no
    weights, moments or step counts.
    """
    norm = nn.utils.clip_grad_norm_(net.parameters(), grad_clip)
    skipped = (~(torch.isfinite(norm) & torch.isfinite(loss))).float()
    optimizer.found_inf = skipped  # type: ignore[attr-defined]
    optimizer.step()
    return norm, skipped


def make_optimizer(net: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Return the optimiser that ``descend`` expects. The caller sets the learning rate."""
    return torch.optim.AdamW(net.parameters(), weight_decay=weight_decay, fused=True)


def scale_advantages(
    advantage: Tensor, weight: Tensor, floor: float = 1e-3, ranks: Ranks = ALONE
) -> Tensor:
    """Return the advantages divided by their root mean square, but at least by ``floor``.

    The root mean square is computed from the plies of weight 1 on all ``ranks``. The mean of the
    advantages is not subtracted. If no game of a rollout ends, all advantages are almost zero.
    Without ``floor``, the division would amplify the noise in such advantages.
    """
    sums = torch.stack(((weight * advantage.square()).sum(), weight.sum()))
    squares, plies = ranks.sum(sums).unbind()
    mean_square = squares / plies.clamp(min=1)
    return advantage / mean_square.sqrt().clamp(min=floor)


class Sums:
    """Sums of metrics over the minibatches of an iteration. Skipped minibatches are only counted.

    All sums are tensors on the device.
    """

    def __init__(self, device: torch.device) -> None:
        self._stats = torch.zeros(len(STATS), device=device)
        self._norm = torch.zeros((), device=device)
        self._skipped = torch.zeros((), device=device)
        self._worst = torch.zeros((), device=device)
        self._first = torch.zeros((), device=device)
        self._count = 0

    def add(self, stats: Tensor, norm: Tensor, skipped: Tensor, in_a_row: Tensor) -> None:
        """Add a minibatch.

        ``stats`` are the numbers that ``STATS`` names, and ``norm`` is the gradient norm.
        ``skipped`` is 1 if the minibatch was skipped, else 0. ``in_a_row`` is the number of
        consecutive skipped minibatches, counted back from this minibatch.
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
        """Return the metrics by name.

        Most metrics are means over the minibatches that were not skipped. ``ratio_error`` is
        measured in the first minibatch. ``skipped`` is the number of skipped minibatches.
        ``skipped_in_a_row`` is the largest number of consecutive skipped minibatches.
        """
        counted = (self._count - self._skipped).clamp(min=1)
        means = dict(zip(STATS, self._stats / counted, strict=True))
        return means | {
            "ratio_error": self._first,
            "grad_norm": self._norm / counted,
            "skipped": self._skipped,
            "skipped_in_a_row": self._worst,
        }
