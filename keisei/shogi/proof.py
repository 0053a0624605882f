"""Finds the shortest forced mate in a position, with the number of its moves."""

from typing import NamedTuple

from keisei.shogi.position import Position


class Mate(NamedTuple):
    """A forced mate."""

    move: str
    """The first move, in USI."""
    moves: int
    """Number of moves, counting both sides: 1 or 3."""


def shortest_mate(position: Position, most: int) -> Mate | None:
    """Return the shortest forced mate of at most ``most`` moves (0 to 3), or None.

    Every mate in one is found. The search for a mate in three is bounded and can miss a mate.
    """
    for moves in range(1, most + 1, 2):
        move = position.mate(moves)
        if move is not None:
            return Mate(move, moves)
    return None
