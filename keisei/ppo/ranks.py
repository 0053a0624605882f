"""Connects the processes (ranks) that train one network together.

Under torchrun each process is a rank with its own games. Every rank learns from the plies of all
ranks. Therefore weights, optimiser state, steps, and the metrics ``train/*`` and ``games/*`` are
equal on all ranks, bit for bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Literal, get_args

import torch
import torch.distributed as dist  # `import torch` has already imported this module

# On import, ``torch.distributed.nn.functional`` stores the current process group as a default
# argument. Therefore this module is imported here, before a group exists. If torch.compile imported
# the module later, our group would stay alive after ``desert``. Then gloo's threads might abort the
# process when the process exits.
import torch.distributed.nn.functional
from torch import Tensor, nn

TIMEOUT = timedelta(minutes=10)
"""Time after which a silent rank counts as stuck. Compiling a network takes less time than this."""
_SEED_STRIDE = 1_000_003  # not 2**32, because a CPU generator uses only 32 bits of its seed

Order = Literal["start", "train", "idle", "save", "send", "rollback", "end"]
"""A command that rank 0 sends to the other ranks. ``idle`` only shows that rank 0 is alive."""
_ORDERS: tuple[Order, ...] = get_args(Order)


class RankError(RuntimeError):
    """Training can't go on, because another rank has died or is stuck."""


class Ranks:
    """The only rank of a run that trains in one process, as most runs do. Sends nothing."""

    rank = 0
    """Number of this process, from 0. Rank 0 sends orders to the other ranks."""
    size = 1
    """Number of ranks."""
    local = 0
    """Number of this process on its machine.

    If training uses GPUs, this process uses the GPU with the same number.
    """

    @property
    def with_rank_0(self) -> bool:
        """Whether this process is on rank 0's machine, whose ranks torchrun counts first."""
        return self.rank == self.local

    def seed(self, seed: int) -> int:
        """Return the seed for this rank's games and moves. ``seed`` is the seed of the run."""
        return seed + _SEED_STRIDE * self.rank

    def share(self, net: nn.Module) -> None:
        """Copy the weights of ``net`` from rank 0 to all ranks."""

    def total(self, counts: list[int]) -> list[int]:
        """Return the sum of each count over all ranks."""
        return counts

    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sum of each number over all ranks.

        ``numbers`` is a tensor on the device. This method can overwrite ``numbers``.
        """
        return numbers

    def mean(self, numbers: Tensor) -> Tensor:
        """Return the mean of each number over all ranks. This method can overwrite ``numbers``."""
        return numbers

    def unite(
        self, net: nn.Module, weight: Tensor, loss: Tensor, stats: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Turn means over this rank's minibatch into means over the minibatches of all ranks.

        The means are the gradients in ``net``, the scalar ``loss``, and ``stats``. The gradients
        are changed in place; the new loss and stats are returned. ``weight`` contains the weights
        of the plies in this rank's minibatch.
        """
        return loss, stats

    def send_order(self, order: Order, text: str = "") -> None:
        """Send an order and its text from rank 0 to the other ranks. Only rank 0 sends orders.

        The other ranks read an order between two turns.
        """

    def gather(self, text: str) -> list[str]:
        """Return the ``text`` of every rank, sorted by rank. All ranks must call this method."""
        return [text]

    def send(self, data: bytes, to: int) -> None:
        """Send bytes to the rank ``to``, which must call ``receive``. Waits until it does."""

    def receive(self, source: int) -> bytes:
        """Wait for the bytes that the rank ``source`` sends to this rank, and return them."""
        return b""

    def desert(self) -> None:
        """Leave the group. Other ranks that wait for this rank get RankError.

        This method can be called at any moment, and more than once.
        """


ALONE = Ranks()
"""The object to use as ``ranks`` in a process that trains alone."""


class Group(Ranks):
    """One rank of several that train together.

    All ranks must call the same methods in the same order, with these exceptions. ``desert`` can be
    called at any moment. When rank 0 calls ``send_order``, the other ranks call ``receive_order``.
    When a rank calls ``send``, only the rank that it names calls ``receive``. A method that waits
    for other ranks raises RankError if another rank is dead or stuck.
    """

    def __init__(self, rank: int, size: int, local: int) -> None:
        """Connect to the other ranks. torchrun sets environment variables with rank 0's address."""
        self.rank, self.size, self.local = rank, size, local
        self._ended = self._deserted = False
        # Orders are CPU tensors, which gloo sends at once. NCCL would send an order only after the
        # GPU's earlier work. NCCL itself starts only when it is first used.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with self._others():
            dist.init_process_group(backend, timeout=TIMEOUT, rank=rank, world_size=size)

    def share(self, net: nn.Module) -> None:
        with self._others():
            for value in net.state_dict().values():
                plain = value.contiguous()  # broadcast can't send channels_last tensors
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
        # A NaN on one rank reaches all ranks, so that all ranks skip the step.
        flat /= flat[-1].clamp(min=1)
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
        """Wait for rank 0's next order; return the order and its text. Rank 0 never calls this."""
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

    def send(self, data: bytes, to: int) -> None:
        with self._others():
            dist.send(torch.tensor([len(data)]), to)
            dist.send(torch.frombuffer(bytearray(data), dtype=torch.uint8), to)

    def receive(self, source: int) -> bytes:
        length = torch.zeros(1, dtype=torch.int64)
        with self._others():
            dist.recv(length, source)
            data = torch.empty(int(length), dtype=torch.uint8)
            dist.recv(data, source)
        return data.numpy().tobytes()

    def desert(self) -> None:
        if not self._deserted:
            self._deserted = True
            dist.destroy_process_group()

    def close(self) -> None:
        """Leave the group. Before that, rank 0 sends the order ``end`` if it has not done so."""
        if self.rank == 0 and not self._ended:
            with suppress(RankError):  # a dead rank can't receive the order
                self.send_order("end")
        self.desert()

    @contextmanager
    def _others(self) -> Iterator[None]:
        """Turn a RuntimeError of the ``with`` block into a RankError: another rank has failed."""
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
"""Context variable that holds the ``Ranks`` for every run that is opened in the context."""
