"""torch.compile and CUDA graphs in one place, around an unchanged network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

RECORDED = 3
"""Uses until a CUDA graph is replayed: torch runs it plain, records it, then replays it."""


class Forward:
    """A network as training calls it: compiled if asked for, and plain where that does not work.

    ``graphs`` has torch record what it compiles as CUDA graphs: kernels are then launched all at
    once. The weights are the network's own. First calls compile, which takes seconds to minutes and
    may fail (no C++ compiler, a layer it cannot handle): make them in ``bring_up``.
    """

    def __init__(self, net: nn.Module, *, compile: bool, graphs: bool) -> None:
        self._net, self._graphs = net, compile and graphs
        mode = "reduce-overhead" if graphs else None
        self._call = torch.compile(net, dynamic=False, mode=mode) if compile else net
        self.failure = ""
        """Why the network runs plain though compiling was asked for."""

    @property
    def compiled(self) -> bool:
        """Whether calls must keep their shapes: each new one is compiled anew."""
        return self._call is not self._net

    def __call__(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Policy and outcome logits, as the network's own call."""
        policy, outcome = self._call(planes)
        if self._graphs:  # the next run overwrites what a graph returned
            return policy.clone(), outcome.clone()
        return policy, outcome

    def bring_up(self, use: Callable[[], None]) -> None:
        """Do ``use``, which calls this; if that fails in compiled form, once more with the plain one.

        Raises what the plain network raises.
        """
        try:
            for _ in range(RECORDED if self._graphs else 1):
                use()
        except Exception as error:
            if not self.compiled:
                raise
            self._call, self._graphs = self._net, False
            reason, *_ = str(error).partition("\n\n")  # advice to torch's developers follows
            self.failure = f"{type(error).__name__}: {' '.join(reason.split())}"
            use()
