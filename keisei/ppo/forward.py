"""Speeds up a network with torch.compile and CUDA graphs.

If compiling fails, the plain network is used.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from keisei.env import MOST_LEGAL
from keisei.nets.policy import evaluate, legal_log_probs

GRAPH_CALLS = 3
"""Number of calls that prepare a CUDA graph.

The first call runs without a graph, the second call records the graph, and the third call
replays the graph.
"""
SPARE_BYTES = 1 << 24
"""Number of spare bytes that ``exercise`` adds to the heap if the network is on the CPU."""


class Forward:
    """The network that training calls: compiled if ``compile`` is True and compiling succeeds.

    If ``graphs`` is True, torch records the compiled network as CUDA graphs. A CUDA graph launches
    all its kernels at once. The compiled network and ``net`` share their weights.

    With ``compile``, the first calls compile the network. Compiling takes seconds to minutes, and
    fails if, for example, there is no C++ compiler or a layer is not supported. Use ``bring_up``
    for the first calls.
    """

    def __init__(self, net: nn.Module, *, compile: bool, graphs: bool) -> None:
        self._net, self._graphs = net, compile and graphs
        mode = "reduce-overhead" if graphs else None
        self._call = torch.compile(net, dynamic=False, mode=mode) if compile else net
        self.failure = ""
        """Reason why compiling failed. Empty if compiling has not failed."""

    @property
    def compiled(self) -> bool:
        """Whether the network is compiled. torch compiles again for each new input shape."""
        return self._call is not self._net

    def __call__(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's policy logits and outcome logits for ``planes``."""
        policy, outcome = self._call(planes)
        if self._graphs:  # the next run of the graph will overwrite both tensors
            return policy.clone(), outcome.clone()
        return policy, outcome

    def bring_up(self, use: Callable[[], None]) -> None:
        """Run ``use``, a function that calls this object. With graphs, run ``use`` several times.

        If ``use`` fails with the compiled network, run ``use`` with the plain network, and never
        call the compiled network again. Raises any exception that ``use`` raises with the plain
        network.
        """
        try:
            for _ in range(GRAPH_CALLS if self._graphs else 1):
                use()
        except Exception as error:
            if not self.compiled:
                raise
            self._call, self._graphs = self._net, False
            reason, *_ = str(error).partition("\n\n")  # the rest is advice on debugging torch
            self.failure = f"{type(error).__name__}: {' '.join(reason.split())}"
            use()


def exercise(forward: Forward, observation: Tensor, minibatch: int, dtype: torch.dtype) -> None:
    """Run the network forward on N positions, then forward and backward on ``minibatch`` positions.

    ``observation`` is ``uint8[N, 131]``. The backward pass stores gradients in the network.
    """
    with torch.no_grad():
        evaluate(forward, observation, dtype)
    rows = torch.arange(minibatch, device=observation.device) % len(observation)
    policy, outcome = evaluate(forward, observation[rows], dtype)
    # ``keep_freed_memory`` makes the heap keep freed memory. Without the allocations here, such a
    # heap would grow for hours, a few MiB at a time. The heap would grow when a position has more
    # legal moves than every earlier position, and when small, long-lived allocations split the
    # space of large tensors. Therefore the largest possible lists of legal moves and some spare
    # memory are allocated once here and then freed.
    spare = torch.ones(SPARE_BYTES if observation.device.type == "cpu" else 0, dtype=torch.uint8)
    legal = torch.arange(MOST_LEGAL, device=observation.device).repeat(minibatch, 1)
    log_probs = legal_log_probs(policy, legal)
    ((log_probs.softmax(1) * log_probs).sum() + outcome.sum()).backward()
    del spare
