"""A multilayer perceptron: a baseline that does not know the board's geometry."""

from torch import Tensor, nn
from torch.nn import functional as F

from keisei.nets.network import SQUARES, Network
from keisei.nets.planes import PLANES


class Residual(nn.Module):
    """A block of two linear layers and a skip connection. An untrained block is the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer1 = nn.Linear(width, width)
        self.layer2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layer2(F.relu(self.layer1(x))))


class MLP(Network):
    """A network that flattens the planes and applies residual blocks of width ``8 * channels``."""

    start_at_zero = ("layer2.weight",)

    def __init__(self, blocks: int, channels: int) -> None:
        super().__init__(channels)
        width = 8 * channels
        self.stem = nn.Linear(PLANES * SQUARES, width)
        self.tower = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.spread = nn.Linear(width, channels * SQUARES)

    def trunk(self, planes: Tensor) -> Tensor:
        features = self.spread(self.tower(F.relu(self.stem(planes.flatten(1)))))
        board: Tensor = F.relu(features).unflatten(1, (-1, 9, 9))
        return board
