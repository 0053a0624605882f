"""The base class of networks: a trunk, two heads, and the initial weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOVE_TYPES = 27
SQUARES = 81
ACTIONS = MOVE_TYPES * SQUARES
_VALUE_CHANNELS = 8
_VALUE_HIDDEN = 64


class Network(nn.Module):
    """A trunk that reads planes ``[B, 48, 9, 9]``, a policy head, and a win/draw/loss head.

    For B positions the network returns policy logits ``[B, 2187]`` (27 move types x 81 squares) and
    win/draw/loss logits ``[B, 3]``. All logits are relative to the side to move.
    """

    start_at_zero: tuple[str, ...] = ()
    """Endings of the names of weights that start at zero.

    With these zeros, each untrained residual block returns its input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Each head begins with a 1x1 convolution. One convolution for both heads saves time.
        self.heads = nn.Conv2d(channels, MOVE_TYPES + _VALUE_CHANNELS, 1)
        self.hidden = nn.Linear(_VALUE_CHANNELS * SQUARES, _VALUE_HIDDEN)
        self.outcome = nn.Linear(_VALUE_HIDDEN, 3)

    def trunk(self, planes: Tensor) -> Tensor:
        """Return the features ``[B, channels, 9, 9]`` of B positions."""
        raise NotImplementedError

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        policy, value = self.heads(self.trunk(planes)).split((MOVE_TYPES, _VALUE_CHANNELS), 1)
        hidden = F.relu(self.hidden(F.relu(value).flatten(1)))
        return policy.flatten(1), self.outcome(hidden)

    def initialise(self, generator: torch.Generator) -> None:
        """Set matrices and kernels to random numbers (He et al., 2015), and biases to zero.

        The random numbers come from ``generator``. ``start_at_zero`` selects further weights that
        become zero. Other vectors and scalars, for example the scale of a LayerNorm, are not
        changed. The heads' weights are scaled down, so that the untrained network's policy is
        nearly uniform and its values are near zero.
        """
        for name, parameter in self.named_parameters():
            if name.endswith(("bias", *self.start_at_zero)):
                nn.init.zeros_(parameter)
            elif parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        with torch.no_grad():
            self.heads.weight[:MOVE_TYPES].mul_(0.01)
            self.outcome.weight.mul_(0.1)
