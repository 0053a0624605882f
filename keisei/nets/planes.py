"""Expand compact observations to input planes, on the device of the observations."""

import torch
from torch import Tensor

PIECES = 28
"""Number of piece planes: 14 for the mover's pieces, then 14 for the opponent's pieces."""
PLANES = PIECES + 14 + 3 + 3
"""Number of all planes: pieces, hands, repetition, check, ply, and attacked squares.

The repetition plane contains the number of earlier occurrences of the position. The first plane of
attacked squares marks squares that the opponent attacks. The second plane marks squares that the
mover attacks. The third plane marks squares that at least two of the mover's pieces attack."""

# Numbers that scale bytes to about 0..1. ``_HAND`` contains divisors for P L N S G B R in one hand.
# ``_SCALE`` contains factors for both hands, repetition, check and ply.
_HAND = (9.0, 4.0, 4.0, 4.0, 4.0, 2.0, 2.0)
_SCALE = tuple(1 / x for x in (*_HAND, *_HAND, 3.0, 1.0, 255.0))

_tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor]] = {}


def expand(observation: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the planes ``dtype[B, 48, 9, 9]`` of B compact observations ``uint8[B, 131]``.

    The last two axes of the planes are file and rank as the mover sees the board. The memory layout
    of the planes is channels_last.
    """
    pieces, scale, powers = _table(observation.device, dtype)
    planes = pieces[observation[:, :81].int()]
    planes[:, :, PIECES : PIECES + 17] = (observation[:, 81:98] * scale)[:, None, :]
    bits = (observation[:, 98:, None] & powers).bool().view(-1, 3, 88)
    planes[:, :, PIECES + 17 :] = bits[:, :, :81].transpose(1, 2)
    return planes.view(-1, 9, 9, PLANES).permute(0, 3, 1, 2)


def _table(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return three tables: planes by piece code, factors for bytes 81 to 97, and powers of 2."""
    key = device, dtype
    if key not in _tables:
        pieces = torch.zeros(PIECES + 1, PLANES, device=device, dtype=dtype)
        pieces[1:, :PIECES] = torch.eye(PIECES, device=device, dtype=dtype)
        scale = torch.tensor(_SCALE, device=device, dtype=torch.float32)
        powers = torch.tensor([1 << k for k in range(8)], device=device, dtype=torch.uint8)
        _tables[key] = pieces, scale, powers
    return _tables[key]
