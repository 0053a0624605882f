"""Legal actions of many positions, and players that need no network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.shogi import kernels


def legal_lists(
    mask: NDArray[np.uint64], multiple: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The legal actions of each row of a packed mask.

    Args:
        mask: uint64[M, 35].
        multiple: of which L is one.

    Returns:
        Actions int64[M, L], ascending, padded with -1 (L = length of the longest list, or a little
        more), and their numbers int32[M].
    """
    counts = np.empty(len(mask), np.int32)
    kernels.count_legal(mask, counts)
    longest = -(-int(counts.max(initial=0)) // multiple) * multiple
    actions = np.empty((len(mask), longest), np.int64)
    kernels.list_legal(mask, actions, counts)
    return actions, counts


def random_actions(mask: NDArray[np.uint64], rng: NDArray[np.uint64]) -> NDArray[np.int16]:
    """A uniformly random legal action for each row of a packed mask.

    Args:
        mask: uint64[M, 35].
        rng: uint64[1], the generator's state; moved on.

    Raises:
        ValueError: a row without a legal action.
    """
    actions = np.empty(len(mask), np.int16)
    _refuse_empty(kernels.choose_random(mask, rng, actions))
    return actions


def material_actions(games: NDArray[Any], rng: NDArray[np.uint64]) -> NDArray[np.int16]:
    """The move of the one-ply ``material`` player in each game.

    A move that leaves the opponent without a legal one if there is one, else the capture of the
    highest value (P 1, L 3, N 3, S 4, G 5, B 8, R 9, promoted P L N S 4, +B 11, +R 13), else any;
    ties at random.

    Args:
        games: GAME[M].
        rng: uint64[1], the generator's state; moved on.

    Raises:
        ValueError: a game without a legal move.
    """
    actions = np.empty(len(games), np.int16)
    scratch = np.zeros(1, kernels.GAME)
    _refuse_empty(kernels.choose_material(games, scratch, rng, actions))
    return actions


def _refuse_empty(row: int) -> None:
    if row >= 0:
        raise ValueError(f"row {row} has no legal action")
