"""Material on the board and in hand: a hint that fades while learning."""

import torch
from torch import Tensor

# P L N S B R G K, +P +L +N +S +B +R as in the observation's codes; P L N S G B R as in its hands
_BOARD = (1.0, 3.0, 3.0, 4.0, 8.0, 9.0, 5.0, 0.0, 4.0, 4.0, 4.0, 4.0, 11.0, 13.0)
_HAND = (1.0, 3.0, 3.0, 4.0, 5.0, 8.0, 9.0)
_SCALE = 15.0


def material_balance(observation: Tensor) -> Tensor:
    """tanh(difference / 15) for the mover, ``float32[...]``, of observations ``uint8[..., 131]``."""
    device = observation.device
    board = torch.tensor((0.0, *_BOARD, *(-x for x in _BOARD)), device=device)
    hands = torch.tensor((*_HAND, *(-x for x in _HAND)), device=device)
    pieces = board[observation[..., :81].int()].sum(-1)
    return torch.tanh((pieces + observation[..., 81:95].float() @ hands) / _SCALE)
