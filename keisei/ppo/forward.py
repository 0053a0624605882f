"""Applies torch.compile and CUDA graphs to an unchanged network; goes without if they fail."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from keisei.nets.policy import MOST_LEGAL, evaluate, legal_log_probs

GRAPH_CALLS = 3
"""Calls until a CUDA graph is replayed: torch runs it plain, records it, then replays it."""
SPARE_BYTES = 1 << 24
"""Memory that ``exercise`` adds to the heap beyond the needs of a first iteration."""


class Forward:
    """A network as training calls it: compiled if asked for, and plain if compiling fails.

    With ``graphs`` torch records the compiled network as CUDA graphs, which launch all kernels at
    once. The weights are the network's own. The first calls compile, which takes seconds to minutes
    and may fail (no C++ compiler, an unsupported layer): make them in ``bring_up``.
    """

    def __init__(self, net: nn.Module, *, compile: bool, graphs: bool) -> None:
        self._net, self._graphs = net, compile and graphs
        mode = "reduce-overhead" if graphs else None
        self._call = torch.compile(net, dynamic=False, mode=mode) if compile else net
        self.failure = ""
        """Why the network runs plain although compiling was asked for."""

    @property
    def compiled(self) -> bool:
        """Whether calls must keep their shapes: each new shape is compiled anew."""
        return self._call is not self._net

    def __call__(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Return policy and outcome logits, as a call of the network does."""
        policy, outcome = self._call(planes)
        if self._graphs:  # the next run overwrites what a graph returned
            return policy.clone(), outcome.clone()
        return policy, outcome

    def bring_up(self, use: Callable[[], None]) -> None:
        """Run ``use``, which calls this; if the compiled form fails, switch to the plain one.

        Raises what the plain network raises.
        """
        try:
            for _ in range(GRAPH_CALLS if self._graphs else 1):
                use()
        except Exception as error:
            if not self.compiled:
                raise
            self._call, self._graphs = self._net, False
            reason, *_ = str(error).partition("\n\n")  # then comes advice to torch's developers
            self.failure = f"{type(error).__name__}: {' '.join(reason.split())}"
            use()


def exercise(forward: Forward, observation: Tensor, minibatch: int, dtype: torch.dtype) -> None:
    """Run the network forward on all positions and forward and backward on ``minibatch`` of them.

    ``observation``: uint8[N, 131]. Leaves gradients in the network.
    """
    with torch.no_grad():
        evaluate(forward, observation, dtype)
    rows = torch.arange(minibatch, device=observation.device) % len(observation)
    policy, outcome = evaluate(forward, observation[rows], dtype)
    # A heap that keeps freed memory (``keep_freed_memory``) grows for hours by a few MiB at a time:
    # when a position has more legal moves than any before, and when small allocations that stay
    # split the space of large tensors. So allocate the largest possible lists and some spare room
    # once, and free them.
    spare = torch.ones(SPARE_BYTES if observation.device.type == "cpu" else 0, dtype=torch.uint8)
    legal = torch.arange(MOST_LEGAL, device=observation.device).repeat(minibatch, 1)
    log_probs = legal_log_probs(policy, legal)
    ((log_probs.softmax(1) * log_probs).sum() + outcome.sum()).backward()
    del spare
