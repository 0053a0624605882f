"""The words of a ``go`` command."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NUMBERS = frozenset(
    ("btime", "wtime", "byoyomi", "binc", "winc", "movetime", "nodes", "depth", "mate")
)
"""Words that a number follows."""
_WORDS = _NUMBERS | {"infinite", "ponder", "searchmoves"}
_NUMBER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a ``go`` command asks for. Times are in milliseconds; None means not given."""

    btime: int | None = None
    """Time that black has left."""
    wtime: int | None = None
    byoyomi: int | None = None
    """Time for each move when no other time is left."""
    binc: int | None = None
    """Time that black gets in addition for each move."""
    winc: int | None = None
    movetime: int | None = None
    """Time to use for this move."""
    nodes: int | None = None
    """Number of simulations."""
    depth: int | None = None
    """Number of moves in the principal variation."""
    mate: int | None = None
    """Time for the search for a mate."""
    infinite: bool = False
    """Whether the move is wanted only after ``stop``; a limit beside it counts, not this word."""
    ponder: bool = False
    """Whether the move is wanted only after ``ponderhit`` or ``stop``."""
    searchmoves: tuple[str, ...] = ()
    """The only moves to search; empty: all."""
    solve: bool = False
    """Whether a mate is wanted, not a move (``go mate``)."""

    @classmethod
    def parse(cls, words: Sequence[str]) -> "Limits":
        """Read the words after ``go``. Words and numbers that mean nothing are ignored."""
        numbers: dict[str, int] = {}
        moves: list[str] = []
        before = ""
        for word in words:
            if word in _WORDS:
                before = word
            elif before == "searchmoves":
                moves.append(word)
            elif before in _NUMBERS and _NUMBER.fullmatch(word):
                numbers[before] = max(int(word), 0)
        return cls(
            **numbers,
            infinite="infinite" in words and not numbers and "mate" not in words,
            ponder="ponder" in words,
            searchmoves=tuple(moves),
            solve="mate" in words,
        )

    @property
    def timed(self) -> bool:
        """Whether a clock limits the move."""
        return any(
            time is not None
            for time in (self.btime, self.wtime, self.byoyomi, self.binc, self.winc, self.movetime)
        )

    @property
    def empty(self) -> bool:
        """Whether nothing says how long to think."""
        counted = self.nodes is not None or self.depth is not None
        return not (self.timed or self.infinite or counted)
