"""What a search asks a network, and what it has found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Leaves:
    """M new positions for which the search needs a network's answer."""

    observation: NDArray[np.uint8]
    """[M, 131] Compact observations."""
    mask: NDArray[np.uint64]
    """[M, 35] Legal actions, as packed bits."""
    trees: NDArray[np.int64]
    """[M] Number of the tree of each position."""


@dataclass(frozen=True, slots=True)
class Line:
    """A move at the root, and what the search found for it."""

    action: int
    prior: float
    """Probability of the move in the network's policy at the search's ``temperature``."""
    visits: int
    value: float
    """P(win) - P(loss) of the side to move; exact if ``proven`` is not 0."""
    proven: int
    """WIN, DRAW or LOSS of ``keisei.search.tree`` for the side to move; UNKNOWN if not proven."""
    plies: int
    """Plies to the proven end; 0 if no result is proven."""
    moves: tuple[int, ...]
    """Principal variation: ``action`` and the best moves that follow."""
