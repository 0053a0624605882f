"""Turn a network's output into moves: legal log-probabilities, sampling, agents."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from keisei.env import ACTIONS, legal_lists
from keisei.nets.planes import expand

ILLEGAL = -1e9
"""Logit of padding. Minus infinity would turn entropy and gradients into NaN."""
_BATCH = 32
"""Agents pad a batch of more than 32 positions to a multiple of 32, so that few shapes occur."""


class DeviceError(RuntimeError):
    """The requested device is not available on this machine."""


def resolve_device(name: str) -> torch.device:
    """Return the device with this name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises DeviceError if torch does not see the device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise DeviceError(f"device: {name} is not available; number of CUDA devices: {count}")
    return torch.device("cuda:0") if name == "cuda" else device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype with this name: ``float32``, ``bfloat16`` or ``auto``.

    ``auto`` means bfloat16 if the device computes bfloat16 natively, else float32.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001 (torch has no public function)
    return torch.bfloat16 if native else torch.float32


def evaluate(
    net: Callable[[Tensor], tuple[Tensor, Tensor]], observation: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return policy logits ``dtype[B, 2187]`` and win/draw/loss logits ``float32[B, 3]``.

    ``observation`` is ``uint8[B, 131]`` for B positions. The weights stay float32; autocast
    computes convolutions and matrix products in ``dtype``.
    """
    planes = expand(observation, dtype)
    with torch.autocast(planes.device.type, dtype, enabled=dtype != torch.float32):
        policy, outcome = net(planes)
    return policy, outcome.float()


def upload(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return the array as a tensor on the device. The CPU does not wait until a GPU has it.

    On the CPU the tensor shares the array's memory. On a GPU it does not, and the caller may change
    the array at once, because CUDA reads an array in ordinary memory before the call returns.
    """
    return torch.from_numpy(array).to(device, non_blocking=True)


def legal_columns(mask: Tensor) -> Tensor:
    """Return legal actions ``int64[B, L]``, padded with -1, from packed masks ``int64[B, 35]``.

    On the CPU, each row lists its actions in ascending order and is padded at the end. L is the
    number of actions in the longest row, rounded up. A softmax over about 100 columns is far
    cheaper than a softmax over 2,187 columns.

    On a GPU, L is 2,187, and column ``a`` contains action ``a``, or -1 if the action is illegal.
    For a shorter L, the CPU would have to wait until the GPU has counted the legal actions.

    Raises ValueError if a position on the CPU has no legal action. On a GPU the positions are
    not checked, because the CPU would have to wait for the result of the check.
    """
    if mask.device.type == "cpu":
        # The row length L is a multiple of 32. Tensors of many different sizes would fragment the
        # heap, and the memory of the process would grow for hours.
        lists, counts = legal_lists(mask.numpy().view(np.uint64), multiple=32)
        if counts.min(initial=1) == 0:
            raise ValueError(f"position {int(counts.argmin())} of the batch has no legal action")
        return torch.from_numpy(lists)
    return _unpack(mask)


def _unpack(mask: Tensor) -> Tensor:
    """Return ``int64[B, 2187]``: column ``a`` contains ``a`` if action ``a`` is legal, else -1."""
    # Bytes, not words: the temporary tensors of 64-bit shifts would be eight times as large.
    powers = torch.arange(8, dtype=torch.uint8, device=mask.device)
    bits = (mask.contiguous().view(torch.uint8)[:, :, None] >> powers) & 1
    actions = torch.arange(ACTIONS, device=mask.device)
    return torch.where(bits.flatten(1)[:, :ACTIONS].bool(), actions, -1)


class _Gather(torch.autograd.Function):
    """``logits.gather(1, index)`` as float32, with a faster backward pass on a CPU.

    This backward pass writes each gradient into the result; torch's own pass adds each gradient to
    the result. On a CPU, writing is ten times faster than adding. Writing and adding give the same
    gradients, because only padding repeats an index, and the gradient of padding is zero.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.width, ctx.dtype = logits.shape[1], logits.dtype
        return logits.gather(1, index).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        wide = gradient.new_zeros(len(gradient), ctx.width, dtype=ctx.dtype)
        # Of several writes to the same index, `scatter_` keeps only one. Padding repeats the first
        # column's index, so padding must write the first column's gradient.
        same = torch.where(index == index[:, :1], gradient[:, :1], gradient)
        return wide.scatter_(1, index, same.to(ctx.dtype)), None


def legal_logits(logits: Tensor, legal: Tensor) -> Tensor:
    """Return the logits ``float32[B, L]`` of legal actions, selected from ``logits[B, 2187]``.

    ``legal[B, L]`` is the result of ``legal_columns``. Padding gets the logit ``ILLEGAL``.
    """
    padding = legal < 0
    if legal.shape[1] == ACTIONS:
        chosen = logits.float()
    else:
        first_for_padding = torch.where(padding, legal[:, :1], legal)
        chosen = _Gather.apply(logits, first_for_padding)  # type: ignore[no-untyped-call]
    return chosen.masked_fill(padding, ILLEGAL)


def legal_log_probs(logits: Tensor, legal: Tensor) -> Tensor:
    """Return the log-softmax ``float32[B, L]`` of the result of ``legal_logits``."""
    return torch.log_softmax(legal_logits(logits, legal), 1)


def sample(logits: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """Sample columns ``int64[B, 1]`` from the softmax of ``logits[B, L]``.

    Returns the columns and their log-probabilities. ``draw`` is ``float32[B]``: uniform random
    numbers in [0, 1). The inverse of the cumulative distribution maps each random number to a
    column. Padding is never sampled, because the cumulative sum does not grow in padding columns.
    If the network returns NaN, any legal move can be sampled; the update detects the NaN.
    """
    logits = logits.nan_to_num(posinf=0, neginf=0)
    below = logits.softmax(1).cumsum(1)
    column = torch.searchsorted(below, draw[:, None] * below[:, -1:], right=True)
    return column, logits.log_softmax(1).gather(1, column)


def most_probable(legal: Tensor, logits: Tensor, k: int = 5) -> list[list[tuple[int, float]]]:
    """Return each row's ``k`` most probable actions as (action, probability), most probable first.

    ``legal[B, L]`` is the result of ``legal_columns``. ``logits[B, L]`` is the result of
    ``legal_logits``.
    """
    best, columns = logits.softmax(1).topk(min(k, logits.shape[1]), 1)
    actions = legal.gather(1, columns)
    return [
        [(a, p) for a, p in zip(row, probabilities, strict=True) if a >= 0]
        for row, probabilities in zip(actions.tolist(), best.tolist(), strict=True)
    ]


def outcome_value(outcome: Tensor) -> Tensor:
    """Return P(win) - P(loss) from probabilities ``[..., 3]`` of win, draw and loss."""
    return outcome[..., 0] - outcome[..., 2]


class Agent:
    """Chooses moves with a network but never trains it. All calls must come from one thread."""

    def __init__(
        self, net: nn.Module, device: torch.device, dtype: torch.dtype, seed: int = 0
    ) -> None:
        self.net = net
        self.device = device
        self.dtype = dtype
        self._seed = seed
        self._random = np.random.default_rng(seed)

    def choose(
        self,
        observation: NDArray[np.uint8],
        mask: NDArray[np.uint64],
        *,
        greedy: bool = False,
        temperature: float = 1.0,
        draw: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Choose a move in each of M positions.

        ``observation`` is ``uint8[M, 131]``, and ``mask`` is ``uint64[M, 35]``. Returns actions
        ``int16[M]`` and values ``float32[M]``. A value is P(win) - P(loss) for the side to move.

        If ``greedy`` is True, the agent chooses the most probable actions. Otherwise the agent
        samples actions at ``temperature``. ``draw`` is ``float32[M]``: random numbers in [0, 1) for
        sampling. If ``draw`` is None, the agent makes the random numbers.
        """
        count = len(observation)
        if count == 0:
            return np.empty(0, np.int16), np.empty(0, np.float32)
        if draw is None:
            draw = self._random.random(count, np.float32)
        legal, logits, value = self._infer(observation, mask)
        if greedy:
            column = logits.argmax(1, keepdim=True)
        else:
            random = torch.from_numpy(draw[_padded_rows(count)]).to(self.device)
            column, _ = sample(logits / temperature, random)
        actions = legal.gather(1, column)[:, 0]
        return actions[:count].to("cpu", torch.int16).numpy(), value[:count].cpu().numpy()

    def top(
        self, observation: NDArray[np.uint8], mask: NDArray[np.uint64], k: int = 5
    ) -> list[list[tuple[int, float]]]:
        """Return the ``k`` most probable actions in each position, most probable first.

        The list of a position contains pairs of an action and its probability.
        """
        return self.top_and_values(observation, mask, k)[0]

    def top_and_values(
        self, observation: NDArray[np.uint8], mask: NDArray[np.uint64], k: int = 5
    ) -> tuple[list[list[tuple[int, float]]], NDArray[np.float32]]:
        """Return the result of ``top``, and the values ``float32[M]`` of the M positions."""
        count = len(observation)
        legal, logits, value = self._infer(observation, mask)
        return most_probable(legal, logits, k)[:count], value[:count].cpu().numpy()

    def assess(
        self,
        observation: NDArray[np.uint8],
        mask: NDArray[np.uint64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Return the whole policy and the values of M positions, as a search needs them.

        Returns the legal actions ``int64[M, L]``, padded with -1, their probabilities
        ``float32[M, L]``, and the values ``float32[M]``.
        """
        count = len(observation)
        legal, logits, value = self._infer(observation, mask)
        found = legal, logits.softmax(1), value
        actions, probabilities, values = (tensor[:count].cpu().numpy() for tensor in found)
        return actions, probabilities, values

    def draw(self) -> float:
        """Return a random number in [0, 1), with which a move can be sampled."""
        return float(self._random.random())

    @property
    def nbytes(self) -> int:
        """Size of the weights in bytes."""
        return sum(tensor.nbytes for tensor in self.net.state_dict().values())

    def snapshot(self) -> "Agent":
        """Return an agent with a copy of the network. The copy never changes."""
        return Agent(copy.deepcopy(self.net), self.device, self.dtype, self._seed)

    @torch.no_grad()
    def _infer(
        self, observation: NDArray[np.uint8], mask: NDArray[np.uint64]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the legal actions, their logits, and the positions' values.

        The results can have more rows than there are positions. The additional rows at the end
        repeat the row of the last position.
        """
        rows = _padded_rows(len(mask))
        seen = upload(observation[rows], self.device)
        legal = legal_columns(upload(mask[rows].view(np.int64), self.device))
        policy, outcome = evaluate(self.net, seen, self.dtype)
        return legal, legal_logits(policy, legal), outcome_value(outcome.softmax(1))


def _padded_rows(count: int) -> NDArray[np.intp]:
    """Return the row numbers 0 to ``count - 1``, then copies of the last row number as padding.

    The result's length is a power of two if ``count`` is at most 32, else a multiple of 32.
    """
    size = 1 << (count - 1).bit_length() if count <= _BATCH else -(-count // _BATCH) * _BATCH
    return np.minimum(np.arange(size), count - 1)
