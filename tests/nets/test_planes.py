"""Planes against a slow, simple expansion of the compact observation."""

import numpy as np
import pytest
import torch

from keisei.env import VectorEnv
from keisei.nets.planes import PLANES, expand
from keisei.shogi import Position

HANDS = (9, 4, 4, 4, 4, 2, 2) * 2


def slow_planes(row: np.ndarray) -> np.ndarray:
    """Expand one observation, uint8[131], square by square."""
    planes = np.zeros((PLANES, 9, 9), np.float32)
    for square, code in enumerate(row[:81]):
        if code:
            planes[code - 1, square // 9, square % 9] = 1
    for slot in range(14):
        planes[28 + slot] = row[81 + slot] / HANDS[slot]
    planes[42], planes[43], planes[44] = row[95] / 3, row[96], row[97] / 255
    bits = np.unpackbits(row[98:], bitorder="little").reshape(3, 88)
    planes[45:] = bits[:, :81].reshape(3, 9, 9)
    return planes


@pytest.fixture(scope="module")
def games() -> VectorEnv:
    env = VectorEnv(64, seed=3, max_ply=256)
    env.stagger()
    return env


def test_planes_equal_the_slow_expansion(games: VectorEnv) -> None:
    planes = expand(torch.from_numpy(games.observation))
    expected = np.stack([slow_planes(row) for row in games.observation])
    np.testing.assert_allclose(planes.numpy(), expected, atol=1e-6)


def test_planes_are_channels_last_and_have_the_requested_dtype(games: VectorEnv) -> None:
    planes = expand(torch.from_numpy(games.observation), torch.bfloat16)
    assert planes.dtype == torch.bfloat16
    assert planes.is_contiguous(memory_format=torch.channels_last)


def test_a_piece_is_on_its_square_from_the_movers_side() -> None:
    """Sente's rook is on 2h (file 1, rank 7 from 0); gote sees the own rook there too."""
    env = VectorEnv(1, reset_pool=0)
    rook = 5
    assert expand(torch.from_numpy(env.observation))[0, rook, 1, 7] == 1
    env.step(np.array([Position().action("7g7f")]))
    assert expand(torch.from_numpy(env.observation))[0, rook, 1, 7] == 1
