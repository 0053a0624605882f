"""A game that was read from a record, whatever its format."""

from dataclasses import dataclass
from typing import Literal

Winner = Literal["black", "white", "draw"]


class RecordError(ValueError):
    """A file or a game cannot be used. The message names file and line, and says why."""


@dataclass(frozen=True, slots=True)
class GameRecord:
    """One game: legal moves from a start position, and its end as the record states it."""

    start: str
    """SFEN of the first position."""
    moves: tuple[str, ...]
    """At least one move, in USI; all are legal."""
    winner: Winner | None
    """None: the record does not say, or the game was stopped before its end."""
    reason: str
    """Why it ended: resign, mate, timeout ...; ``unknown`` if the record does not say."""
    source: str
    """Where it was read: ``file:line``."""
