"""A game as a record tells it, whatever the file's format."""

from dataclasses import dataclass
from typing import Literal

Winner = Literal["black", "white", "draw"]


class RecordError(ValueError):
    """A file or a game that can't be used. The message names file and line, and says why."""


@dataclass(frozen=True, slots=True)
class GameRecord:
    """One game: legal moves from a start position, and its end as the record states it."""

    start: str
    """SFEN of the first position."""
    moves: tuple[str, ...]
    """In USI, all legal; at least one."""
    winner: Winner | None
    """None: the record doesn't say, or the game was broken off or cut at a number of moves."""
    reason: str
    """Why it ended: resign, mate, timeout, repetition_draw ...; ``unknown``: the record doesn't say."""
    source: str
    """Where it was read, ``file:line``."""
