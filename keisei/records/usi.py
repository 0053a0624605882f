"""Read USI records: each line is a game."""

import re
from collections.abc import Iterator

from keisei.records.ends import UNKNOWN, read_end
from keisei.records.game import GameRecord
from keisei.records.moves import Moves
from keisei.shogi.usi import read_line

_MOVE = re.compile(r"[1-9][a-i][1-9][a-i]\+?|[PLNSGBR]\*[1-9][a-i]")
_END = re.compile(r"(?:[^\W\d]|-)+")
"""Pattern of an end word, such as ``resign``. An end word may follow the last move."""


def split(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of each game in a file. ``#`` begins a comment."""
    for number, line in enumerate(lines, 1):
        if line.partition("#")[0].strip():
            yield number, line


def read(line: str, source: str) -> GameRecord:
    """Read one game from a line. Raises ValueError if the game cannot be used."""
    start, words = read_line(line)
    end = UNKNOWN
    if words and _END.fullmatch(words[-1]):
        end = read_end(words.pop())
    if not words:
        raise ValueError("no moves")
    if wrong := next((word for word in words if not _MOVE.fullmatch(word)), None):
        raise ValueError(f"ply {words.index(wrong) + 1}: {wrong[:60]} is not a USI move")
    moves = Moves(start, "it was taken from the line")
    for word in words:
        moves.push(word)
    return moves.record(end, source)
