"""torch.compile in one place, around an unchanged network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Forward:
    """A network as training calls it: compiled if asked for, and plain where that does not work.

    The weights are the network's own. A first call compiles, which takes seconds to minutes and
    may fail (no C++ compiler, a layer it cannot handle): make it in ``bring_up``.
    """

    def __init__(self, net: nn.Module, *, compile: bool) -> None:
        self._net = net
        self._call = torch.compile(net, dynamic=False) if compile else net
        self.failure = ""
        """Why the network runs plain though compiling was asked for."""

    @property
    def compiled(self) -> bool:
        """Whether calls must keep their shapes: each new one is compiled anew."""
        return self._call is not self._net

    def __call__(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Policy and outcome logits, as the network's own call."""
        logits: tuple[Tensor, Tensor] = self._call(planes)
        return logits

    def bring_up(self, use: Callable[[], None]) -> None:
        """Do ``use``, which calls this; if that fails in compiled form, once more with the plain one.

        Raises what the plain network raises.
        """
        try:
            use()
        except Exception as error:
            if not self.compiled:
                raise
            self._call = self._net
            reason, *_ = str(error).partition("\n\n")  # advice to torch's developers follows
            self.failure = f"{type(error).__name__}: {' '.join(reason.split())}"
            use()
