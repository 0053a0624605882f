"""A game that was read from a game record: KIF, KI2, CSA or USI."""

from dataclasses import dataclass
from typing import Literal

Winner = Literal["black", "white", "draw"]


class RecordError(ValueError):
    """A file or a game cannot be used.

    Functions raise this error, or yield it in place of the game. The message says where
    the file or game is, and why it cannot be used.
    """


@dataclass(frozen=True, slots=True)
class GameRecord:
    """One game: its start position, its legal moves, and the end that the record states."""

    start: str
    """SFEN of the start position."""
    moves: tuple[str, ...]
    """Moves of the game in USI. All moves are legal. A game from a file has at least one move."""
    winner: Winner | None
    """Winner, or ``draw``; None if the record names no winner, or if the game was stopped early."""
    reason: str
    """Why the game ended: resign, mate, timeout ...; ``unknown`` if the record gives no reason."""
    source: str
    """File that contains the game, and the line at which the game begins: ``file:line``."""
    black: str = ""
    """Name of black's player; empty if the record gives no name."""
    white: str = ""
    """Name of white's player; empty if the record gives no name."""
