"""Openings: the lines from which the games of a match begin; a book of them ships with Keisei."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from keisei.records.text import lines_of
from keisei.records.usi import split
from keisei.shogi import START_SFEN, IllegalMoveError, Position
from keisei.shogi.usi import read_line

T = TypeVar("T")
BOOK = Path(__file__).with_name("openings.usi")
"""The shipped book; its first lines say how it was made."""


class OpeningsError(ValueError):
    """A file that can't be used. The message names file and line, and says what is wrong."""


def load_openings(path: Path | None = None) -> tuple[str, ...]:
    """The openings of a file, in order: ``startpos moves ...`` or ``sfen ... moves ...``.

    A line is what ``keisei.shogi.usi.read_line`` reads; empty ones and those of a comment alone
    are skipped. All lines are replayed, 0.1 ms a move, for which the rules are compiled if nobody
    has used them yet.

    Args:
        path: None for the shipped book.

    Raises:
        OpeningsError: the file can't be read or holds no opening; a line is none, has a move that
            is not legal, or reaches the end of a game (27-point declarations included).
    """
    file = path or BOOK
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise OpeningsError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OpeningsError(f"{file}: not a text in UTF-8") from error
    openings = []
    for number, line in split(lines_of(text)):
        try:
            openings.append(_read(line))
        except ValueError as error:
            raise OpeningsError(f"{file}:{number}: {error}") from error
    if not openings:
        raise OpeningsError(f"{file}: no openings in it")
    return tuple(openings)


def choose(openings: Sequence[T], pairs: int, seed: int) -> tuple[T, ...]:
    """The openings of a match: a random order of all of them, gone through again and again.

    None comes twice before all have come once. The same seed gives the same order, so a longer
    match begins with the openings of a shorter one.

    Args:
        openings: one or more.
        pairs: how many are wanted.
        seed: 0 or more.
    """
    order = np.random.default_rng(seed).permutation(len(openings))
    return tuple(openings[order[pair % len(order)]] for pair in range(pairs))


def _read(line: str) -> str:
    """The opening that a line tells. Raises ValueError."""
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
    begun = "startpos" if start == START_SFEN else f"sfen {start}"
    return " ".join([begun, "moves", *moves]) if moves else begun


def _refuse_end(position: Position) -> None:
    outcome = position.outcome()
    if outcome is not None:
        raise ValueError(f"the game is over after {position.ply} plies: {outcome.reason}")
