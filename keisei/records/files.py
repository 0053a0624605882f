"""Finds files of game records by the endings of file names, and reads the games in these files.

Every move is checked. For a game that cannot be used, the functions yield a RecordError, and then
continue with the next game. docs/decisions/0006-reading-records.md explains why Keisei has its own
readers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keisei.records import csa, kif, usi
from keisei.records.game import GameRecord, RecordError
from keisei.records.text import decode, lines_of, printable
from keisei.shogi import Position
from keisei.shogi.usi import read_line


@dataclass(frozen=True, slots=True)
class Format:
    """A format of game records: its name, and the functions that read files in this format."""

    name: str
    split: Callable[[list[str]], Iterable[tuple[int, Any]]]
    """Function that splits the lines of a file into games.

    For each game, this function yields the line number at which the game begins, and the first
    argument for ``read``.
    """
    read: Callable[[Any, str], GameRecord]
    """Function that reads one game. Raises ValueError if the game cannot be used.

    The arguments are a value that ``split`` has yielded, and the source ``file:line``.
    """


_KIF, _KI2 = (Format(name, kif.split, kif.read) for name in ("KIF", "KI2"))
_CSA, _USI = Format("CSA", csa.split, csa.read), Format("USI", usi.split, usi.read)
FORMATS = {
    ".kif": _KIF,
    ".kifu": _KIF,
    ".ki2": _KI2,
    ".ki2u": _KI2,
    ".csa": _CSA,
    ".usi": _USI,
    ".sfen": _USI,
}
"""Record formats by the ending of the file name."""


@dataclass(frozen=True, slots=True)
class RecordFile:
    """An opened record file, and the games in the file."""

    format: str
    encoding: str
    games: Iterator[GameRecord | RecordError]
    """Games in the order of the file. A RecordError replaces each game that cannot be used."""


def record_files(paths: Iterable[Path]) -> list[Path]:
    """Return the record files in ``paths``, and the record files in the folders in ``paths``.

    Files in subfolders are included. The files of each listed folder are sorted. No file is
    returned twice.

    Raises:
        RecordError: a path does not exist, a listed file is not a record file, or a listed folder
            contains no record file.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [file for file in files_below(path) if file.suffix.lower() in FORMATS]
            if not inside:
                raise RecordError(
                    f"{path}: no file name in this folder ends in {', '.join(FORMATS)}"
                )
            files += inside
        elif not path.exists():
            raise RecordError(f"{path}: no such file or folder")
        elif not path.is_file():
            raise RecordError(f"{path}: neither a file nor a folder")
        elif path.suffix.lower() not in FORMATS:
            raise RecordError(f"{path}: the file name does not end in {', '.join(FORMATS)}")
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def files_below(folder: Path) -> list[Path]:
    """Return all regular files in a folder and its subfolders, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def open_records(file: Path) -> RecordFile:
    """Open a record file. Each game is parsed only when the iterator ``games`` reaches that game.

    Raises RecordError if the file cannot be read.
    """
    try:
        text, encoding = decode(file.read_bytes())
    except OSError as error:
        raise RecordError(f"{file}: {error.strerror}") from error
    form = FORMATS[file.suffix.lower()]
    return RecordFile(form.name, encoding, _games(form, lines_of(text), file))


def read_games(file: Path) -> Iterator[GameRecord | RecordError]:
    """Yield the games of a file in order. A RecordError replaces each game that cannot be used."""
    try:
        yield from open_records(file).games
    except RecordError as error:
        yield error


def read_game(source: Path | str, number: int = 1) -> GameRecord:
    """Return a game of a record file (``Path``), or the game of a USI line or SFEN (``str``).

    ``number`` counts the games of a file from 1. The game of an SFEN has no moves.

    Raises RecordError if the game cannot be used, or if the file has fewer games.
    """
    if isinstance(source, str):
        return _line_game(source)
    if record_files([source]) != [source]:
        raise RecordError(f"{source}: a folder; one record file is needed")
    count = 0
    for count, game in enumerate(open_records(source).games, 1):
        if count == number:
            if isinstance(game, RecordError):
                raise game
            return game
    raise RecordError(f"{source}: game {number} was asked for, but the file contains {count}")


def _line_game(line: str) -> GameRecord:
    """Return the game of a USI line, also of a line without moves. Raises RecordError."""
    try:
        start, moves = read_line(line)
        if moves:
            return usi.read(line, "")
        return GameRecord(Position(start).sfen(), (), None, "unknown", "")
    except ValueError as error:
        raise RecordError(printable(str(error))) from error


def _games(form: Format, lines: list[str], file: Path) -> Iterator[GameRecord | RecordError]:
    for first, part in form.split(lines):
        source = f"{file}:{first}"
        try:
            yield form.read(part, source)
        except ValueError as error:
            yield RecordError(f"{source}: {printable(str(error))}")
