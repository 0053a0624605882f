"""Opening lines from files or from the shipped book, and their order in a match."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from keisei.evaluation.game import write_line
from keisei.records.text import lines_of
from keisei.records.usi import split
from keisei.shogi import START_SFEN, IllegalMoveError, Position
from keisei.shogi.usi import read_line

T = TypeVar("T")
BOOK = Path(__file__).with_name("openings.usi")
"""The shipped book; its first lines say how it was made."""


class OpeningsError(ValueError):
    """A file of openings that can't be used. The message names file, line and reason."""


def load_openings(path: Path | None = None) -> tuple[str, ...]:
    """Read the openings of a file, in order: ``startpos moves ...`` or ``sfen ... moves ...``.

    Lines are read by ``keisei.shogi.usi.read_line``; empty lines and comments are skipped. All
    lines are replayed, 0.1 ms a move. The first call may have to compile the rules, which takes
    seconds.

    Args:
        path: None for the shipped book.

    Raises:
        OpeningsError: the file can't be read or holds no opening; or a line is not an opening, has
            an illegal move, or reaches the end of a game (27-point declarations included).
    """
    file = path or BOOK
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise OpeningsError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OpeningsError(f"{file}: not UTF-8 text: save the file as UTF-8") from error
    openings = []
    for number, line in split(lines_of(text)):
        try:
            openings.append(_read(line))
        except ValueError as error:
            raise OpeningsError(f"{file}:{number}: {error}") from error
    if not openings:
        raise OpeningsError(f"{file}: no openings: write one line of moves for each")
    return tuple(openings)


def choose_openings(openings: Sequence[T], pairs: int, seed: int) -> tuple[T, ...]:
    """Return an opening for each pair: all of them in random order, repeated as often as needed.

    No opening comes a second time before all have come once. A longer match with the same seed
    begins with the openings of the shorter one.

    Args:
        openings: one or more.
        pairs: number of openings to return.
        seed: 0 or more.
    """
    order = np.random.default_rng(seed).permutation(len(openings))
    return tuple(openings[order[pair % len(order)]] for pair in range(pairs))


def _read(line: str) -> str:
    """Return a line in its standard form. Raises ValueError, also if the game ends in it."""
    sfen, moves = read_line(line)
    position = Position(sfen)
    start = position.sfen()
    _refuse_end(position)
    for ply, usi in enumerate(moves, 1):
        try:
            position.push(usi)
        except IllegalMoveError as error:
            raise ValueError(f"ply {ply}: {error}") from error
        _refuse_end(position)
    first = "startpos" if start == START_SFEN else f"sfen {start}"
    return write_line(first, moves)


def _refuse_end(position: Position) -> None:
    """Raise ValueError if the game is over."""
    outcome = position.outcome()
    if outcome is not None:
        raise ValueError(f"the game is over after {position.ply} plies: {outcome.reason}")
