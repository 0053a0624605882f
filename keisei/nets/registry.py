"""Networks by name."""

from collections.abc import Callable

import torch
from torch import nn

from keisei.nets.resnet import ResNet

_KINDS: dict[str, Callable[[int, int], ResNet]] = {
    "se_resnet": lambda blocks, channels: ResNet(blocks, channels, squeeze=True),
    "resnet": lambda blocks, channels: ResNet(blocks, channels, squeeze=False),
}
KINDS = tuple(_KINDS)


class UnknownNetError(ValueError):
    """No network is registered under this name."""


def check_kind(kind: str) -> None:
    """Raises UnknownNetError for a name outside ``KINDS``."""
    if kind not in _KINDS:
        raise UnknownNetError(f"net.kind: {kind!r} is not one of {', '.join(KINDS)}")


def build(kind: str, *, blocks: int, channels: int, seed: int = 0) -> nn.Module:
    """A network on the CPU in channels_last layout, its weights drawn from ``seed`` alone.

    Raises UnknownNetError for a name outside ``KINDS``.
    """
    check_kind(kind)
    # Built without storage first: torch's constructors draw from the process-wide generator.
    with torch.device("meta"):
        net = _KINDS[kind](blocks, channels)
    net = net.to_empty(device="cpu")
    net.initialise(torch.Generator().manual_seed(seed))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stub
    return net
