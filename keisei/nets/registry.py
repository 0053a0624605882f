"""Networks by name: our own, and those of installed packages.

A package adds one by an entry point in the group ``keisei.nets``: its name is the kind, its object takes
``blocks`` and ``channels`` and returns a module that answers as ``Network`` does and has
``initialise(generator)``. ``keisei.nets.network.Network`` is there to be derived from.
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from typing import cast

import torch
from torch import nn

from keisei.nets.mlp import MLP
from keisei.nets.network import Network
from keisei.nets.resnet import ResNet
from keisei.nets.transformer import Transformer

GROUP = "keisei.nets"
Constructor = Callable[[int, int], Network]

_OWN: dict[str, Constructor] = {
    "se_resnet": partial(ResNet, squeeze=True),
    "resnet": partial(ResNet, squeeze=False),
    "transformer": Transformer,
    "mlp": MLP,
}


class NetError(ValueError):
    """No such network: unknown by name, of sizes it can't have, or of a package that can't be loaded."""


def kinds() -> tuple[str, ...]:
    """The names that ``build`` knows."""
    return (*_OWN, *sorted({point.name for point in entry_points(group=GROUP)} - _OWN.keys()))


def check(kind: str, *, blocks: int, channels: int) -> None:
    """Raises NetError if ``build`` would."""
    with torch.device("meta"):
        _construct(kind, blocks, channels)


def build(kind: str, *, blocks: int, channels: int, seed: int = 0) -> nn.Module:
    """A network on the CPU in channels_last layout, its weights drawn from ``seed`` alone.

    Raises NetError for a name outside ``kinds()``, sizes that the network can't have, and a package
    that can't be loaded.
    """
    with torch.random.fork_rng(devices=[]):  # constructors draw from the process-wide generator
        net = _construct(kind, blocks, channels)
    net.initialise(torch.Generator().manual_seed(seed))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stub
    return net


def _construct(kind: str, blocks: int, channels: int) -> Network:
    if kind not in kinds():
        raise NetError(f"net.kind: {kind!r} is not one of {', '.join(kinds())}")
    try:
        return _constructor(kind)(blocks, channels)
    except Exception as error:  # a package's code may raise anything
        raise NetError(f"net: {kind} of {blocks} x {channels} can't be built: {error}") from error


def _constructor(kind: str) -> Constructor:
    if kind in _OWN:
        return _OWN[kind]
    return cast("Constructor", next(iter(entry_points(group=GROUP, name=kind))).load())
