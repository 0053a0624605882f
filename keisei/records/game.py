"""A game that was read from a record of any format."""

from dataclasses import dataclass
from typing import Literal

Winner = Literal["black", "white", "draw"]


class RecordError(ValueError):
    """Error of a file or game that cannot be used. The message names file, line and reason."""


@dataclass(frozen=True, slots=True)
class GameRecord:
    """One game: its start position, its legal moves, and its end as the record states it."""

    start: str
    """SFEN of the start position."""
    moves: tuple[str, ...]
    """Legal moves of the game in USI, at least one."""
    winner: Winner | None
    """Winner, or ``draw``. None if the record names no winner, or if the game was stopped early."""
    reason: str
    """Why the game ended: resign, mate, timeout ...; ``unknown`` if the record does not say."""
    source: str
    """Place where the game was read: ``file:line``."""
