"""Connects the processes (ranks) that train one network together.

Under torchrun each process is a rank with its own games. All learn from the union of their plies,
so weights, optimiser, steps and metrics are the same on all of them, bit for bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Literal, get_args

import torch
import torch.distributed as dist  # `import torch` has imported it already

# The functions of this module have as default argument the process group that exists at its import.
# If torch.compile imported it later, it would keep our group and gloo's threads after `desert`.
# These threads may abort the process at exit.
import torch.distributed.nn.functional
from torch import Tensor, nn

TIMEOUT = timedelta(minutes=10)
"""A rank that does not answer for this long counts as stuck. Compiling takes less."""
_SEED_STRIDE = 1_000_003  # not 2**32: a generator on the CPU uses only 32 bits of its seed

Order = Literal["start", "train", "idle", "save", "rollback", "end"]
"""An order of rank 0 to the other ranks. ``idle`` only shows that rank 0 is alive."""
_ORDERS: tuple[Order, ...] = get_args(Order)


class RankError(RuntimeError):
    """Another rank has died or is stuck: training can't go on."""


class Ranks:
    """One process that trains alone, the usual case. Nothing is sent; sums are over one rank."""

    rank = 0
    """Number of this process. Rank 0 gives orders to the others."""
    size = 1
    """Number of ranks."""
    local = 0
    """Number of this process on its machine, and of its GPU."""

    def seed(self, seed: int) -> int:
        """Return the seed of this rank's games and moves, given the run's seed."""
        return seed + _SEED_STRIDE * self.rank

    def share(self, net: nn.Module) -> None:
        """Copy the weights of ``net`` from rank 0 to all ranks."""

    def total(self, counts: list[int]) -> list[int]:
        """Return the sums over the ranks."""
        return counts

    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sums over the ranks. ``numbers`` are on the device and may be overwritten."""
        return numbers

    def mean(self, numbers: Tensor) -> Tensor:
        """Return the means over the ranks. ``numbers`` may be overwritten."""
        return numbers

    def unite(
        self, net: nn.Module, weight: Tensor, loss: Tensor, stats: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Turn means over this rank's minibatch into means over the minibatches of all ranks.

        The means are the gradients in ``net`` (changed in place), ``loss[]`` and ``stats[S]``
        (returned). ``weight[B]`` are the weights of this rank's plies.
        """
        return loss, stats

    def send_order(self, order: Order, text: str = "") -> None:
        """On rank 0: send the others an order and its text. They read orders only between turns."""

    def gather(self, text: str) -> list[str]:
        """Return the ``text`` of every rank, in their order. Waits for all."""
        return [text]

    def desert(self) -> None:
        """Leave the group at any moment. Ranks that wait for this one get RankError. Idempotent."""


ALONE = Ranks()
"""The ranks of a process that trains alone."""


class Group(Ranks):
    """Several processes. A method that needs the others raises RankError if one is dead or stuck.

    All ranks must call the same methods in the same order. To ``send_order`` on rank 0 corresponds
    ``receive_order`` on the others.
    """

    def __init__(self, rank: int, size: int, local: int) -> None:
        """Connect to the others, at the address in the environment that torchrun sets."""
        self.rank, self.size, self.local = rank, size, local
        self._ended = self._deserted = False
        # NCCL starts when it is first used. Orders stay on the CPU, so that they wait for no GPU.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with self._others():
            dist.init_process_group(backend, timeout=TIMEOUT, rank=rank, world_size=size)

    def share(self, net: nn.Module) -> None:
        with self._others():
            for value in net.state_dict().values():
                plain = value.contiguous()  # weights may be channels_last
                dist.broadcast(plain, src=0)
                value.copy_(plain)

    def total(self, counts: list[int]) -> list[int]:
        return self.sum(torch.tensor(counts, dtype=torch.int64)).tolist()

    def sum(self, numbers: Tensor) -> Tensor:
        with self._others():
            dist.all_reduce(numbers)
        return numbers

    def mean(self, numbers: Tensor) -> Tensor:
        return self.sum(numbers) / self.size

    def unite(
        self, net: nn.Module, weight: Tensor, loss: Tensor, stats: Tensor
    ) -> tuple[Tensor, Tensor]:
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        parts = [*gradients, loss.detach(), stats, torch.ones_like(loss)]
        flat = self.sum(torch.cat([part.reshape(-1) for part in parts]) * weight.sum())
        flat /= flat[-1].clamp(min=1)  # a NaN of one rank reaches all: all skip the step
        *united, loss, stats, _ = flat.split([part.numel() for part in parts])
        for gradient, part in zip(gradients, united, strict=True):
            gradient.copy_(part.view(gradient.shape))
        return loss[0], stats

    def send_order(self, order: Order, text: str = "") -> None:
        if self._deserted:
            return
        data = text.encode()
        with self._others():
            dist.broadcast(torch.tensor([_ORDERS.index(order), len(data)]), src=0)
            if data:
                dist.broadcast(torch.tensor(list(data), dtype=torch.uint8), src=0)
        self._ended = order == "end"

    def receive_order(self) -> tuple[Order, str]:
        """On the other ranks: wait for the next order; return it and its text."""
        flag = torch.zeros(2, dtype=torch.int64)
        with self._others():
            dist.broadcast(flag, src=0)
            order, length = flag.tolist()
            data = torch.zeros(length, dtype=torch.uint8)
            if length:
                dist.broadcast(data, src=0)
        return _ORDERS[order], bytes(data.tolist()).decode()

    def gather(self, text: str) -> list[str]:
        data = text.encode()
        lengths = self.total([len(data) * (rank == self.rank) for rank in range(self.size)])
        begin = sum(lengths[: self.rank])
        row = [0] * sum(lengths)
        row[begin : begin + len(data)] = data
        joined = iter(self.total(row) if row else ())
        return [bytes(next(joined) for _ in range(length)).decode() for length in lengths]

    def desert(self) -> None:
        if not self._deserted:
            self._deserted = True
            dist.destroy_process_group()

    def close(self) -> None:
        """Leave the group. Rank 0 orders the others to end first, unless it has done so."""
        if self.rank == 0 and not self._ended:
            with suppress(RankError):  # a dead rank receives nothing
                self.send_order("end")
        self.desert()

    @contextmanager
    def _others(self) -> Iterator[None]:
        """Raise RankError where the block fails because of another rank."""
        try:
            yield
        except RuntimeError as error:
            where_and_what = str(error).splitlines()[0].partition(". This is typically")[0]
            reason = where_and_what.partition("] ")[2] or where_and_what
            raise RankError(
                f"rank {self.rank} of {self.size}: another rank has died, or has not answered for "
                f"{TIMEOUT.total_seconds():.0f} s: {reason}"
            ) from error


CONTEXT_RANKS: ContextVar[Ranks] = ContextVar("CONTEXT_RANKS", default=ALONE)
"""The ranks that a run trains with if it is opened in this context."""
