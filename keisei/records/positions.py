"""Reads single positions from files: SFENs or USI lines, or the start positions of records."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from keisei.records import csa, kif, usi
from keisei.records.files import FORMATS
from keisei.records.game import RecordError
from keisei.records.text import decode, lines_of, printable
from keisei.shogi import Position
from keisei.shogi.usi import read_line


def read_positions(file: Path) -> list[tuple[str, Position]]:
    """Return the positions of a file, each with its place ``file:line``.

    A KIF, KI2 or CSA file gives the start position of each game; its moves are ignored. In all
    other files each line gives a position: an SFEN, or a USI line whose moves are made.

    Raises:
        RecordError: the file or one of its positions cannot be read. The message names the line.
    """
    try:
        text, _ = decode(file.read_bytes())
    except OSError as error:
        raise RecordError(f"{file}: {error.strerror}") from error
    form = FORMATS.get(file.suffix.lower())
    split, read = _READERS[form.name if form else "USI"]
    found = []
    for number, part in split(lines_of(text)):
        try:
            found.append((f"{file}:{number}", read(part)))
        except ValueError as error:
            raise RecordError(f"{file}:{number}: {printable(str(error))}") from error
    if not found:
        raise RecordError(f"{file}: no position")
    return found


def read_position(line: str) -> Position:
    """Return the position that an SFEN or a USI line gives, after the line's moves.

    Raises ValueError if the line cannot be read, or if a move is not legal.
    """
    start, moves = read_line(line)
    position = Position(start)
    for move in moves:
        position.push(move)
    return position


def _read_kif(lines: Any) -> Position:
    return Position(kif.read_start(lines))


def _read_csa(lines: Any) -> Position:
    return Position(csa.read_start(lines))


_READERS: dict[
    str, tuple[Callable[[list[str]], Iterable[tuple[int, Any]]], Callable[[Any], Position]]
]
_READERS = {
    "USI": (usi.split, read_position),
    "KIF": (kif.split, _read_kif),
    "KI2": (kif.split, _read_kif),
    "CSA": (csa.split, _read_csa),
}
"""Functions that split a file into positions, and read one, by the name of the format."""
