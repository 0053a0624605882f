"""Read openings from files or from the shipped book, and choose openings for a match."""

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
"""Path of Keisei's opening book. The first lines of the file say how the book was made."""


class OpeningsError(ValueError):
    """A file of openings can't be used.

    The message names the file, the reason and, for a bad line, the number of the line.
    """


def load_openings(path: Path | None = None) -> tuple[str, ...]:
    """Return the openings in a file, each as ``startpos moves ...`` or ``sfen ... moves ...``.

    ``keisei.shogi.usi.read_line`` parses the lines. Empty lines and comments are skipped. All
    other lines are replayed, which takes 0.1 ms per move. If the rules are not compiled yet, the
    first call compiles the rules, which takes seconds.

    Args:
        path: file of openings; None means ``BOOK``.

    Raises:
        OpeningsError: the file can't be read, contains no opening, or contains a bad line. A line
            is bad if it is not an opening, contains an illegal move, or ends the game. A position
            in which the side to move can declare a win by 27 points ends the game, too.
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
        raise OpeningsError(f"{file}: no openings: write each opening as one line of moves")
    return tuple(openings)


def choose_openings(openings: Sequence[T], pairs: int, seed: int) -> tuple[T, ...]:
    """Return an opening for each pair: all openings in random order, repeated as often as needed.

    Every opening is used once before any opening is used twice. With the same seed, a longer match
    begins with the same openings as a shorter match.

    Args:
        openings: one or more.
        pairs: number of openings to return.
        seed: 0 or more.
    """
    order = np.random.default_rng(seed).permutation(len(openings))
    return tuple(openings[order[pair % len(order)]] for pair in range(pairs))


def _read(line: str) -> str:
    """Return the line in standard form.

    Raises ValueError for a bad line; ``load_openings`` says which lines are bad.
    """
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
    """Raise ValueError if the game is over in this position."""
    outcome = position.outcome()
    if outcome is not None:
        raise ValueError(f"the game is over after {position.ply} plies: {outcome.reason}")
