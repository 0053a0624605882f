"""Converts a learner's state to the tensors and JSON of a checkpoint, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from keisei.formats import STATE

RANK_GROUPS = ("env", "pool")
"""Names of the tensor groups that differ between ranks. Each rank saves its own tensors."""

_INSTEAD = "; begin a new run from the checkpoint's weights with --init"

Arrays = dict[str, dict[str, NDArray[Any]]]
"""Arrays by owner (``env`` or ``recorder``) and by name."""


def check_format(state: Mapping[str, Any]) -> None:
    """Raise ValueError if training can't be resumed from a checkpoint with this ``state``."""
    if state["format"] != STATE:
        raise ValueError(
            f"checkpoint has format {state['format']}, but training resumes only from format "
            f"{STATE}{_INSTEAD}"
        )


def to_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy the tensors to the CPU. The copies share no memory with the originals."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def pack_arrays(arrays: Arrays) -> dict[str, Tensor]:
    """Return the arrays' bytes as ``uint8`` tensors named ``owner.name``.

    A checkpoint stores bytes, because no tensor dtype fits structured arrays such as the games.
    """
    return {
        f"{owner}.{name}": torch.from_numpy(_bytes(array))
        for owner, group in arrays.items()
        for name, array in group.items()
    }


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def unpack_arrays(saved: Mapping[str, Tensor], like: Arrays) -> Arrays:
    """Return the arrays that ``pack_arrays`` packed, with the shapes and dtypes of ``like``.

    Raises ValueError if an array is missing or differs in size from the array in ``like``.
    """
    return {
        owner: {
            name: _unpack(saved.get(f"{owner}.{name}"), f"{owner}.{name}", array)
            for name, array in group.items()
        }
        for owner, group in like.items()
    }


def _unpack(tensor: Tensor | None, name: str, like: NDArray[Any]) -> NDArray[Any]:
    if tensor is None or tensor.numel() != like.nbytes:
        found = "nothing" if tensor is None else f"{tensor.numel()} bytes"
        raise ValueError(f"checkpoint: {name}: {found}, expected {like.nbytes} bytes{_INSTEAD}")
    array: NDArray[Any] = tensor.numpy().view(like.dtype).reshape(like.shape)
    return array


def moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state. Keys are ``index.name``; ``index`` is a parameter's index."""
    return {
        f"{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_moments(
    optimizer: torch.optim.Optimizer, net: nn.Module, saved: Mapping[str, Tensor]
) -> None:
    """Give the optimiser of ``net`` the state that ``moments`` returned."""
    # The fused optimiser combines each number of a parameter with the number at the same place in
    # the moment's memory. Therefore a moment needs the memory layout of its parameter (for example
    # channels_last). Files do not store this layout.
    parameters = list(net.parameters())
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in saved.items():
        index, name = key.split(".")
        like = value if value.dim() == 0 else parameters[int(index)].detach()
        state.setdefault(int(index), {})[name] = torch.empty_like(like).copy_(value)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def load_weights(net: nn.Module, weights: Mapping[str, Tensor], described: object) -> None:
    """Load weights into ``net``.

    Raises ValueError if the weights don't fit. In the message, ``described`` names the network.
    """
    try:
        net.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        raise ValueError(f"weights do not fit {described}: {error}") from None


def generator_state(generator: torch.Generator) -> str:
    """Return the random generator's state as hexadecimal text, for JSON."""
    return generator.get_state().numpy().tobytes().hex()


def load_generator(generator: torch.Generator, text: str) -> None:
    """Set the generator to a state that ``generator_state`` returned."""
    generator.set_state(torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8))
