"""Residual networks, with squeeze-and-excitation (the default network) or without it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keisei.nets.network import SQUARES, Network
from keisei.nets.planes import PLANES


class _BoardMean(torch.autograd.Function):
    """For B boards with C channels, the mean over the squares of each channel: ``[B, C]``.

    The backward pass keeps the layout channels_last. torch's own backward pass loses this layout
    and is therefore 40 % slower.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, x.shape[2:]).flatten(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient / SQUARES)[:, :, None, None].expand(-1, -1, 9, 9)


class SqueezeExcite(nn.Module):
    """Multiplies channels by gates that a small network computes from the channels' means.

    Hu et al. (2018) describe this method.
    """

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
    """Two 3x3 convolutions and a skip connection.

    The block needs no normalisation, because its second convolution starts at zero. BatchNorm in
    training mode would make PPO's probability ratio differ from 1 before the optimiser's first
    step.
    """

    def __init__(self, channels: int, *, squeeze: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = SqueezeExcite(channels) if squeeze else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.conv2(F.relu(self.conv1(x), inplace=True)))
        return F.relu(x + y, inplace=True)


class ResNet(Network):
    """A network whose trunk is a tower of residual blocks (He et al., 2016)."""

    start_at_zero = ("conv2.weight",)

    def __init__(self, blocks: int, channels: int, *, squeeze: bool) -> None:
        super().__init__(channels)
        self.stem = nn.Conv2d(PLANES, channels, 3, padding=1)
        self.tower = nn.Sequential(*(Block(channels, squeeze=squeeze) for _ in range(blocks)))

    def trunk(self, planes: Tensor) -> Tensor:
        features: Tensor = self.tower(F.relu(self.stem(planes), inplace=True))
        return features
