"""Write what a search has found as lines for a GUI."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keisei.usi.protocol import printable

_LEAST_RATE = 1e-4
"""Smallest distance of a win rate from 0 and 1. At 0 and 1 the score would be infinite."""


@dataclass(frozen=True, slots=True)
class Variation:
    """A move, and what the engine thinks of it."""

    moves: tuple[str, ...]
    """Principal variation in USI: the move, then the best moves that follow."""
    value: float | None
    """P(win) - P(loss) of the side to move; None if the search has not tried the move."""
    mate: int = 0
    """Plies to a proven win; negative for a proven loss; 0 if neither is proven."""
    probability: float = 0.0
    """The network's probability of the move."""

    @property
    def score(self) -> str:
        """The score as USI writes it; empty if there is none."""
        if self.mate:
            return f"score mate {self.mate} "
        return "" if self.value is None else f"score cp {centipawns(self.value)} "


@dataclass(frozen=True, slots=True)
class Counters:
    """The size of a search."""

    nodes: int
    """Number of simulations since ``go``."""
    seconds: float
    """Time since ``go``."""
    deepest: int
    """Number of moves from the root to the deepest position."""
    fullness: float
    """Used share of the memory, from 0 to 1."""


def info_lines(variations: Sequence[Variation], counters: Counters, multipv: int) -> list[str]:
    """Return a line ``info`` for each variation, the best one first."""
    nps = round(counters.nodes / max(counters.seconds, 1e-3))
    size = (
        f"seldepth {max(counters.deepest, 1)} nodes {counters.nodes} nps {nps} "
        f"time {round(1000 * counters.seconds)} hashfull {round(1000 * counters.fullness)} "
    )
    return [
        f"info depth {len(variation.moves)} {size}"
        + (f"multipv {number} " if multipv > 1 else "")
        + f"{variation.score}pv {' '.join(variation.moves)}"
        for number, variation in enumerate(variations[:multipv], 1)
    ]


def policy_line(variations: Sequence[Variation]) -> str:
    """Return a line with the network's probabilities of moves."""
    shares = (f"{variation.moves[0]} {variation.probability:.1%}" for variation in variations)
    return say(" ".join(["policy", *shares]))


def centipawns(value: float) -> int:
    """Convert a value, P(win) - P(loss), to a score for GUIs, from -5,526 to 5,526.

    The win rate, in which a draw counts as half a win, is 1 / (1 + exp(-score / 600)). Yamamoto
    found this formula in the games of his program Ponanza. Other programs use the formula, too.
    """
    rate = min(max((1 + value) / 2, _LEAST_RATE), 1 - _LEAST_RATE)
    return round(600 * math.log(rate / (1 - rate)))


def from_centipawns(score: int) -> float:
    """Convert a score to a value, P(win) - P(loss)."""
    return math.tanh(score / 1200)


def say(text: str) -> str:
    """Return a line that the GUI shows to its user."""
    return f"info string {plain(text)}"


def plain(text: str) -> str:
    """Return the text as one line of ASCII, because some GUIs read only ASCII."""
    return printable(text).encode("ascii", "backslashreplace").decode()
