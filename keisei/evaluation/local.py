"""Players that need neither a network nor an engine: ``random`` and ``material``."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keisei.env import material_actions, random_actions

Kind = Literal["network", "random", "material", "engine"]
"""The kinds of players."""
KINDS: tuple[Kind, ...] = ("network", "random", "material", "engine")
LOCAL_PLAYERS: tuple[Kind, ...] = ("random", "material")

_Choose = Callable[[NDArray[Any], NDArray[np.uint64], NDArray[np.uint64]], NDArray[np.int16]]
_CHOOSE: dict[Kind, _Choose] = {
    "random": lambda games, mask, rng: random_actions(mask, rng),
    "material": lambda games, mask, rng: material_actions(games, rng),
}


def local_move(
    kind: Kind, game: NDArray[Any], mask: NDArray[np.uint64], rng: NDArray[np.uint64]
) -> int:
    """Return the action that a local player chooses.

    Args:
        kind: one of ``LOCAL_PLAYERS``.
        game: the position, as an array of one ``keisei.shogi.kernels.GAME``.
        mask: uint64[1, 35], the legal moves.
        rng: uint64[1], the state of the random generator, which this function advances in place.
    """
    return int(_CHOOSE[kind](game, mask, rng)[0])
