"""Computes the material balance, a hint whose weight falls during training."""

import torch
from torch import Tensor

# Values of the pieces, sorted as in the observation: P L N S B R G K +P +L +N +S +B +R on the
# board, and P L N S G B R in hand.
_BOARD = (1.0, 3.0, 3.0, 4.0, 8.0, 9.0, 5.0, 0.0, 4.0, 4.0, 4.0, 4.0, 11.0, 13.0)
_HAND = (1.0, 3.0, 3.0, 4.0, 5.0, 8.0, 9.0)
_SCALE = 15.0


def material_balance(observation: Tensor) -> Tensor:
    """Return tanh(d / 15) as ``float32[...]``.

    Here d is the material of the side to move minus the opponent's material, in pawns.
    ``observation`` is ``uint8[..., 131]``.
    """
    device = observation.device
    board = torch.tensor((0.0, *_BOARD, *(-x for x in _BOARD)), device=device)
    hands = torch.tensor((*_HAND, *(-x for x in _HAND)), device=device)
    pieces = board[observation[..., :81].int()].sum(-1)
    return torch.tanh((pieces + observation[..., 81:95].float() @ hands) / _SCALE)
