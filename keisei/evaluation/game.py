"""One game of a match: its opening, and its record after the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from keisei.shogi import START_SFEN, Position

Colour = Literal["black", "white"]
Result = Literal["black", "white", "draw", "capped"]
"""Result of a game: the winner, a draw by the rules, or ``capped`` (stopped at the maximum ply)."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The opening of both games of a pair. ``read`` replays the opening: 0.1 ms per move."""

    line: str = "startpos"
    """The opening as ``startpos moves ...`` or ``sfen ... moves ...``."""
    start: str = "startpos"
    """The position before the first move: ``startpos`` or ``sfen ...``."""
    actions: tuple[int, ...] = ()
    """The moves of the opening as action numbers."""

    @classmethod
    def read(cls, line: str) -> Self:
        """Replay a line, and return it as an opening. Raises SfenError or IllegalMoveError."""
        start, _, moves = line.strip().removeprefix("position ").partition(" moves ")
        position, actions = Position(start), []
        sfen = position.sfen()
        for usi in moves.split():
            actions.append(position.action(usi))
            position.play(actions[-1])
        start = "startpos" if sfen == START_SFEN else f"sfen {sfen}"
        return cls(line, start, tuple(actions))


@dataclass(frozen=True, slots=True)
class PlayedGame:
    """An ended game of a match."""

    number: int
    """Number of the game within the match. Games 2k and 2k + 1 form pair k: they have the same
    opening and use the same random numbers."""
    result: Result
    reason: str
    """Reason why the game ended: checkmate, no_moves, repetition, perpetual_check, declaration,
    max_ply or resignation. A game with an engine can also end by illegal_move."""
    start: str
    """The position before the first move: ``startpos`` or ``sfen ...``."""
    actions: NDArray[np.int16] = field(repr=False)
    """[plies] All moves, including the moves of the opening."""
    values: NDArray[np.float32] = field(repr=False)
    """[plies] P(win) - P(loss) that the side to move expected before each move; NaN where the
    value is unknown."""

    @property
    def pair(self) -> int:
        """Number of the pair that the game belongs to."""
        return self.number // 2

    @property
    def agent(self) -> Colour:
        """The agent's colour: black in the first game of a pair, white in the second game."""
        return "white" if self.number % 2 else "black"

    @property
    def plies(self) -> int:
        """Number of moves, including the moves of the opening."""
        return len(self.actions)

    @property
    def points(self) -> float:
        """The agent's points: 1, 1/2 or 0. A capped game gives 1/2."""
        if self.result in {"draw", "capped"}:
            return 0.5
        return float(self.result == self.agent)

    def moves(self) -> list[str]:
        """Return the moves in USI notation. The replay of the game takes some milliseconds."""
        position = Position(self.start)
        return [position.play(action) for action in self.actions.tolist()]

    def record(self) -> str:
        """Return the game as one line, ``startpos moves ...`` or ``sfen ... moves ...``."""
        return write_line(self.start, self.moves())


def write_line(start: str, moves: Sequence[str]) -> str:
    """Join a start position (``startpos`` or ``sfen ...``) and USI moves into one line."""
    return " ".join([start, "moves", *moves]) if moves else start
