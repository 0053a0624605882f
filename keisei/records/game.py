"""A game that was read from a record of any format."""

from dataclasses import dataclass
from typing import Literal

Winner = Literal["black", "white", "draw"]


class RecordError(ValueError):
    """Raised or yielded if a file or game cannot be used.

    The message says where the file or game is, and why it cannot be used.
    """


@dataclass(frozen=True, slots=True)
class GameRecord:
    """One game: its start position, its legal moves, and the end that the record states."""

    start: str
    """SFEN of the start position."""
    moves: tuple[str, ...]
    """Moves of the game in USI. All are legal, and there is at least one."""
    winner: Winner | None
    """Winner, or ``draw``. None if the record names no winner, or if the game was stopped early."""
    reason: str
    """Why the game ended: resign, mate, timeout ...; ``unknown`` if the record does not say."""
    source: str
    """File that contains the game, and the line at which the game begins: ``file:line``."""
