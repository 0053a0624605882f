"""List the legal actions of many positions; choose moves at random or by material."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.shogi import kernels

MOST_LEGAL = 593
"""Largest number of legal moves in a position (proved by Computer Shogi Kiso Joho Kenkyujo)."""


def legal_lists(
    mask: NDArray[np.uint64], multiple: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the legal actions of each row of a packed mask.

    Args:
        mask: legal actions of M positions as packed bits, uint64[M, 35].
        multiple: the length L of the returned rows is a multiple of this number.

    Returns:
        The legal actions, int64[M, L], and the number of legal actions of each row, int32[M]. Each
        row contains its actions in ascending order, followed by -1 in all remaining columns. L is
        the largest number of legal actions in a row, rounded up to a multiple of ``multiple``.
    """
    counts = np.empty(len(mask), np.int32)
    kernels.count_legal(mask, counts)
    longest = -(-int(counts.max(initial=0)) // multiple) * multiple
    actions = np.empty((len(mask), longest), np.int64)
    kernels.list_legal(mask, actions, counts)
    return actions, counts


def random_actions(mask: NDArray[np.uint64], rng: NDArray[np.uint64]) -> NDArray[np.int16]:
    """Return a uniformly random legal action for each row of a packed mask.

    Args:
        mask: legal actions of M positions as packed bits, uint64[M, 35].
        rng: uint64[1], the state of the random generator; the call advances it.

    Raises:
        ValueError: a row has no legal action.
    """
    actions = np.empty(len(mask), np.int16)
    _refuse_empty(kernels.choose_random(mask, rng, actions))
    return actions


def material_actions(games: NDArray[Any], rng: NDArray[np.uint64]) -> NDArray[np.int16]:
    """Return the move of the ``material`` player in each game. The player looks one ply ahead.

    If a move leaves the opponent without a legal move, the player makes that move. Otherwise, the
    player captures the piece of the highest value. The values are P 1, L 3, N 3, S 4, G 5, B 8,
    R 9, +B 11, +R 13, and 4 for each of +P, +L, +N and +S. If the player cannot capture, all
    legal moves are equally good. The player chooses at random among equally good moves.

    Args:
        games: records of M games, ``keisei.shogi.kernels.GAME``[M].
        rng: uint64[1], the state of the random generator; the call advances it.

    Raises:
        ValueError: a game has no legal move.
    """
    actions = np.empty(len(games), np.int16)
    scratch = np.zeros(1, kernels.GAME)
    _refuse_empty(kernels.choose_material(games, scratch, rng, actions))
    return actions


def _refuse_empty(row: int) -> None:
    """Raise ValueError unless ``row`` is -1, which means that every row has a legal action."""
    if row >= 0:
        raise ValueError(f"row {row} has no legal action")
