"""A transformer whose tokens are the squares of the board."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keisei.nets.network import SQUARES, Network
from keisei.nets.planes import PLANES

HEAD = 16
"""Largest number of channels in one attention head."""


class Layer(nn.Module):
    """Self-attention, then a two-layer perceptron, each after a LayerNorm (Xiong et al., 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mix = nn.Linear(channels, 3 * channels)
        self.join = nn.Linear(channels, channels)
        self.widen = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.mix(self.norm1(x)).unflatten(2, (3, self.heads, -1)).transpose(1, 3)
        query, key, value = parts.unbind(2)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.join(seen)
        changed: Tensor = self.narrow(F.gelu(self.widen(self.norm2(x))))
        return x + changed


class Transformer(Network):
    """A network of attention layers. Each of the 81 squares has a token of ``channels`` features.

    A learned vector for each square is added to the token of this square.
    """

    start_at_zero = ("join.weight", "narrow.weight")

    def __init__(self, blocks: int, channels: int) -> None:
        if channels > HEAD and channels % HEAD:
            raise ValueError(f"channels: a multiple of {HEAD} (got {channels})")
        super().__init__(channels)
        self.embed = nn.Linear(PLANES, channels)
        self.place = nn.Parameter(torch.empty(SQUARES, channels))
        self.layers = nn.Sequential(*(Layer(channels) for _ in range(blocks)))
        self.norm = nn.LayerNorm(channels)

    def trunk(self, planes: Tensor) -> Tensor:
        tokens = self.embed(planes.flatten(2).transpose(1, 2)) + self.place
        features = self.norm(self.layers(tokens))
        board: Tensor = features.transpose(1, 2).unflatten(2, (9, 9))
        return board
