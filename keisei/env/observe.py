"""Compute the compact observation of one position, as ``VectorEnv`` computes it."""

import numpy as np
from numpy.typing import NDArray

from keisei.shogi import Position, kernels
from keisei.shogi.sfen import read_sfen

EARLIER_COLUMN = 95
"""Observation column that contains the number of earlier occurrences of the position."""
PLY_COLUMN = 97
"""Observation column that contains the ply, in 255ths of the maximum ply (see ``ply_byte``)."""

Observed = tuple[NDArray[np.uint8], NDArray[np.uint64]]
"""Compact observation, uint8[1, 131], and legal-move mask, uint64[1, 35]."""


def observe_position(position: Position, max_ply: int) -> Observed:
    """Return the observation and the legal-move mask of a position.

    The observation contains the ply and the number of earlier occurrences of the position.

    Args:
        position: the position. The ply in the observation is ``position.ply``.
        max_ply: maximum ply of the games that the network was trained on.
    """
    return observe_sfen(
        position.sfen(), max_ply, ply=position.ply, earlier=position.occurrences - 1
    )


def observe_sfen(sfen: str, max_ply: int, *, ply: int | None = None, earlier: int = 0) -> Observed:
    """Return the observation and the legal-move mask of the position that an SFEN gives.

    Args:
        sfen: the position.
        max_ply: maximum ply of the games that the network was trained on.
        ply: number of moves made in the game; None means the SFEN's move number minus 1.
        earlier: number of earlier occurrences of the position in the game.

    Raises:
        SfenError: the text is not a position.
    """
    game, number = read_sfen(sfen)
    observation = np.zeros((1, kernels.OBSERVATION_BYTES), np.uint8)
    mask = np.zeros((1, kernels.MASK_WORDS), np.uint64)
    tags, keys = np.zeros((1, 2, 64), np.uint16), np.zeros((1, 2), np.uint64)
    reason, result = np.zeros(1, np.int64), np.zeros(1, np.int64)
    kernels.visit_games(
        0, 1, np.array([-1]), game, tags, keys, observation, mask, reason, result,
        kernels.NO_RULE, max_ply,
    )  # fmt: skip
    # A record that was read from an SFEN has no history, and its ply is 0. So the kernel wrote 0 to
    # EARLIER_COLUMN and PLY_COLUMN.
    observation[0, EARLIER_COLUMN] = earlier
    observation[0, PLY_COLUMN] = ply_byte(np.array(number - 1 if ply is None else ply), max_ply)
    return observation, mask


def ply_byte(ply: NDArray[np.integer], max_ply: int) -> NDArray[np.int64]:
    """Convert plies (any shape) to 255ths of ``max_ply``, at most 255, as the kernels do."""
    found: NDArray[np.int64] = np.minimum(ply.astype(np.int64) * 255 // max_ply, 255)
    return found
