"""An opening book for the engine: positions, and the moves that the book plays in them."""

from collections.abc import Iterable

from keisei.shogi import Position
from keisei.shogi.usi import read_line


class Book:
    """The moves of many openings. A position is recognised whatever moves led to it."""

    def __init__(self, openings: Iterable[str]) -> None:
        """``openings``: legal lines such as ``startpos moves 7g7f 3c3d``."""
        self._moves: dict[str, list[str]] = {}
        for opening in openings:
            sfen, moves = read_line(opening)
            position = Position(sfen)
            for move in moves:
                self._moves.setdefault(_key(position), []).append(move)
                position.push(move)

    def moves(self, position: Position) -> list[str]:
        """Return the book's moves; a move that more openings contain is there more often."""
        return self._moves.get(_key(position), [])


def _key(position: Position) -> str:
    """Return the position without its move number."""
    return position.sfen().rpartition(" ")[0]
