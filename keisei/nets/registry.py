"""Build networks by name: Keisei's own networks, and those of installed packages.

A package adds a network by an entry point in the group ``keisei.nets``. The entry point's name is
the network's kind. The entry point refers to a callable that takes ``blocks`` and ``channels`` and
returns a network. The network is a ``keisei.nets.network.Network``, or a ``torch.nn.Module`` with
the same methods ``forward`` and ``initialise``.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import nn

from keisei.nets.mlp import MLP
from keisei.nets.network import Network
from keisei.nets.resnet import ResNet
from keisei.nets.transformer import Transformer
from keisei.plugins import installed, no_such_name

GROUP = "keisei.nets"
Constructor = Callable[[int, int], Network]

_BUILT_IN: dict[str, Constructor] = {
    "se_resnet": partial(ResNet, squeeze=True),
    "resnet": partial(ResNet, squeeze=False),
    "transformer": Transformer,
    "mlp": MLP,
}


class NetError(ValueError):
    """The network can't be built, because its kind, its size or its package is wrong."""


def kinds() -> tuple[str, ...]:
    """Return the kinds of network that ``build`` accepts."""
    return (*_BUILT_IN, *sorted(installed(GROUP).keys() - _BUILT_IN.keys()))


def check(kind: str, *, blocks: int, channels: int) -> None:
    """Raise NetError if ``build`` would raise NetError for these arguments. Makes no weights."""
    with torch.device("meta"):
        _construct(kind, blocks, channels)


def build(kind: str, *, blocks: int, channels: int, seed: int = 0) -> nn.Module:
    """Build a network on the CPU in channels_last layout, with random weights made from ``seed``.

    Raises NetError for an unknown kind, an impossible size, or a package that cannot be loaded.
    """
    # Constructors change the process-wide random generator; fork_rng restores this generator.
    with torch.random.fork_rng(devices=[]):
        net = _construct(kind, blocks, channels)
    net.initialise(torch.Generator().manual_seed(seed))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stub
    return net


def _construct(kind: str, blocks: int, channels: int) -> Network:
    if kind not in kinds():
        raise NetError(no_such_name("net.kind", kind, kinds()))
    try:
        return _constructor(kind)(blocks, channels)
    except Exception as error:  # a package's code can raise any exception
        raise NetError(f"net: {kind} of {blocks} x {channels} can't be built: {error}") from error


def _constructor(kind: str) -> Constructor:
    if kind in _BUILT_IN:
        return _BUILT_IN[kind]
    return cast("Constructor", installed(GROUP)[kind].load())
