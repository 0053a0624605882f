"""Residual networks with a policy head of 27 move types x 81 squares and a win/draw/loss head."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keisei.nets.planes import PLANES

MOVE_TYPES = 27
SQUARES = 81
_VALUE_CHANNELS = 8
_VALUE_HIDDEN = 64


class _BoardMean(torch.autograd.Function):
    """Mean over the squares, ``[B, C]``. torch's own backward leaves channels_last: 40 % slower."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, x.shape[2:]).flatten(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient / SQUARES)[:, :, None, None].expand(-1, -1, 9, 9)


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the board's mean (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 8)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = _BoardMean.apply(x)  # type: ignore[no-untyped-call]
        gate = self.excite(F.relu(self.squeeze(pooled)))
        return x * torch.sigmoid(gate)[:, :, None, None]


class Block(nn.Module):
    """Two 3x3 convolutions and a skip. The second starts at zero, so no normalisation is needed.

    Train-mode BatchNorm would make the probability ratio differ from 1 before the first step.
    """

    def __init__(self, channels: int, *, squeeze: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = SqueezeExcite(channels) if squeeze else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.conv2(F.relu(self.conv1(x), inplace=True)))
        return F.relu(x + y, inplace=True)


class ResNet(nn.Module):
    """A residual tower over ``[B, 45, 9, 9]`` planes.

    Returns policy logits ``[B, 2187]`` and win/draw/loss logits ``[B, 3]``, both for the mover.
    """

    def __init__(self, blocks: int, channels: int, *, squeeze: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(PLANES, channels, 3, padding=1)
        self.tower = nn.Sequential(*(Block(channels, squeeze=squeeze) for _ in range(blocks)))
        # Both heads begin with a 1x1 convolution; one for both saves a pass over the board.
        self.heads = nn.Conv2d(channels, MOVE_TYPES + _VALUE_CHANNELS, 1)
        self.hidden = nn.Linear(_VALUE_CHANNELS * SQUARES, _VALUE_HIDDEN)
        self.outcome = nn.Linear(_VALUE_HIDDEN, 3)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        x = self.tower(F.relu(self.stem(planes), inplace=True))
        policy, value = self.heads(x).split((MOVE_TYPES, _VALUE_CHANNELS), 1)
        hidden = F.relu(self.hidden(F.relu(value).flatten(1)))
        return policy.flatten(1), self.outcome(hidden)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights from ``generator``: He, zero biases, blocks that start as identity.

        The heads start small: a nearly uniform policy and a value near zero.
        """
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1 or name.endswith("conv2.weight"):
                nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        with torch.no_grad():
            self.heads.weight[:MOVE_TYPES].mul_(0.01)
            self.outcome.weight.mul_(0.1)
