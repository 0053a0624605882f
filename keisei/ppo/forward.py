"""Speeds up a network by torch.compile and CUDA graphs, or runs it plain if these fail."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from keisei.nets.policy import MOST_LEGAL, evaluate, legal_log_probs

GRAPH_CALLS = 3
"""Calls that prepare a CUDA graph: torch runs the first, records the second, replays the third."""
SPARE_BYTES = 1 << 24
"""Bytes that ``exercise`` adds to the heap beyond the needs of the first iteration."""


class Forward:
    """The network that training calls: compiled if ``compile`` is set, plain if compiling fails.

    If ``graphs`` is set, torch records the compiled network as CUDA graphs, which launch all
    kernels at once. The weights are not copied. The first calls compile the network, which takes
    seconds to minutes and may fail (no C++ compiler, an unsupported layer). Make these calls in
    ``bring_up``.
    """

    def __init__(self, net: nn.Module, *, compile: bool, graphs: bool) -> None:
        self._net, self._graphs = net, compile and graphs
        mode = "reduce-overhead" if graphs else None
        self._call = torch.compile(net, dynamic=False, mode=mode) if compile else net
        self.failure = ""
        """Reason why the network runs plain although ``compile`` is set; else empty."""

    @property
    def compiled(self) -> bool:
        """Whether the network is compiled. Each new shape of its input is compiled anew."""
        return self._call is not self._net

    def __call__(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Return policy and outcome logits, as the network itself does."""
        policy, outcome = self._call(planes)
        if self._graphs:  # a graph's next run overwrites the returned tensors
            return policy.clone(), outcome.clone()
        return policy, outcome

    def bring_up(self, use: Callable[[], None]) -> None:
        """Run ``use``, which calls this object. Use the plain network if the compiled one fails.

        Raises any exception that ``use`` raises with the plain network.
        """
        try:
            for _ in range(GRAPH_CALLS if self._graphs else 1):
                use()
        except Exception as error:
            if not self.compiled:
                raise
            self._call, self._graphs = self._net, False
            reason, *_ = str(error).partition("\n\n")  # the rest is advice to torch's developers
            self.failure = f"{type(error).__name__}: {' '.join(reason.split())}"
            use()


def exercise(forward: Forward, observation: Tensor, minibatch: int, dtype: torch.dtype) -> None:
    """Run the network forward on all positions, then forward and backward on ``minibatch`` rows.

    ``observation`` is ``uint8[N, 131]``. The network's gradients are set.
    """
    with torch.no_grad():
        evaluate(forward, observation, dtype)
    rows = torch.arange(minibatch, device=observation.device) % len(observation)
    policy, outcome = evaluate(forward, observation[rows], dtype)
    # A heap that keeps freed memory (``keep_freed_memory``) would grow for hours, a few MiB at a
    # time: when a position has more legal moves than any earlier one, and when small, long-lived
    # allocations split the space of large tensors. So the largest possible lists and some spare
    # memory are allocated once here and freed again.
    spare = torch.ones(SPARE_BYTES if observation.device.type == "cpu" else 0, dtype=torch.uint8)
    legal = torch.arange(MOST_LEGAL, device=observation.device).repeat(minibatch, 1)
    log_probs = legal_log_probs(policy, legal)
    ((log_probs.softmax(1) * log_probs).sum() + outcome.sum()).backward()
    del spare
