"""The processes that train one network together, seen from one of them.

Under torchrun each is a rank with games of its own. What they learn from is the union of their plies,
so that weights, optimiser, steps and metrics are the same on all of them, bit for bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Literal, get_args

import torch
import torch.distributed as dist  # `import torch` has imported it already

# Its functions have the group of their import as a default argument. Imported later, by torch.compile, they
# would keep ours beyond `desert`, and gloo's threads with it: at exit these may abort the process.
import torch.distributed.nn.functional
from torch import Tensor, nn

TIMEOUT = timedelta(minutes=10)
"""After so long without an answer another rank counts as stuck. More than compiling takes."""
_SEED_STRIDE = 1_000_003  # not 2**32: a generator on the CPU looks at 32 bits alone

Order = Literal["start", "train", "idle", "save", "rollback", "end"]
"""What rank 0 tells the others to do; ``idle`` says only that it lives."""
_ORDERS: tuple[Order, ...] = get_args(Order)


class RankError(RuntimeError):
    """Another rank has died or got stuck: training can't go on."""


class Ranks:
    """The usual case: this process trains alone. Nothing is sent, what is asked for is what it has."""

    rank = 0
    """This process's number. Rank 0 leads, the others follow."""
    size = 1
    """How many there are."""
    local = 0
    """This process's number on its machine, and that of its GPU."""

    def seed(self, seed: int) -> int:
        """The seed of this rank's games and moves, from that of the run."""
        return seed + _SEED_STRIDE * self.rank

    def share(self, net: nn.Module) -> None:
        """Give ``net`` the weights that it has on rank 0."""

    def total(self, counts: list[int]) -> list[int]:
        """Sums over the ranks."""
        return counts

    def sum(self, numbers: Tensor) -> Tensor:
        """Sums over the ranks; ``numbers`` are on the device and may be overwritten."""
        return numbers

    def mean(self, numbers: Tensor) -> Tensor:
        """Means over the ranks; as ``sum``."""
        return numbers

    def unite(
        self, net: nn.Module, weight: Tensor, loss: Tensor, stats: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Turn means over this rank's rows, of ``weight[B]``, into means over the rows of all ranks.

        Of the gradients in ``net``, in place, of ``loss[]`` and of ``stats[S]``, which are returned.
        """
        return loss, stats

    def send_order(self, order: Order, text: str = "") -> None:
        """On rank 0: have the others do something. They take orders between two turns only."""

    def gather(self, text: str) -> list[str]:
        """The ``text`` of every rank, by rank; waits for all."""
        return [text]

    def desert(self) -> None:
        """Break off at any moment: whoever waits for this rank gets RankError. May be called again."""


ALONE = Ranks()


class Group(Ranks):
    """Several processes. Whatever needs the others raises RankError when one died or got stuck.

    All ranks must call the same methods in the same order; ``send_order`` on rank 0 meets ``receive_order``.
    """

    def __init__(self, rank: int, size: int, local: int) -> None:
        """Meet the others, at the address that torchrun left in the environment."""
        self.rank, self.size, self.local = rank, size, local
        self._ended = self._deserted = False
        # NCCL is set up when it is first used. The flags stay on the CPU: they wait for no GPU.
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
        flat /= flat[-1].clamp(min=1)  # one rank's NaN is everybody's: all skip the step
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
        """On the others: wait for the next order and its text."""
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
        """Leave. On rank 0 the others are told to end, if they have not been."""
        if self.rank == 0 and not self._ended:
            with suppress(RankError):  # whoever is gone can't be told
                self.send_order("end")
        self.desert()

    @contextmanager
    def _others(self) -> Iterator[None]:
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
"""Whom a run that is opened in this context trains with."""
