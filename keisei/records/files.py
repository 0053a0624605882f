"""Files of game records, by the endings of their names: which there are, and the games in them.

Every move is checked; a game that can't be used is given back as an error in its place, and the
others are read. docs/decisions/0006-reading-records.md says why the formats are read here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keisei.records import csa, kif, usi
from keisei.records.game import GameRecord, RecordError
from keisei.records.text import decode, lines_of, printable


@dataclass(frozen=True, slots=True)
class Format:
    """How the records of a format are read."""

    name: str
    split: Callable[[list[str]], Iterable[tuple[int, Any]]]
    """The lines of a file to games: number of the first line, and what ``read`` takes."""
    read: Callable[[Any, str], GameRecord]
    """One game from what ``split`` gave and its source; raises ValueError."""


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
"""By the ending of a file's name."""


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A file that was opened."""

    format: str
    encoding: str
    games: Iterator[GameRecord | RecordError]
    """In order; in place of one that can't be used, why."""


def record_files(paths: Iterable[Path]) -> list[Path]:
    """The files among ``paths``, and those with a known ending in the folders there and below, sorted.

    Raises RecordError for a path that isn't there, a file of another kind, a folder without records.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [file for file in files_below(path) if file.suffix.lower() in FORMATS]
            if not inside:
                raise RecordError(f"{path}: no file in it ends in {', '.join(FORMATS)}")
            files += inside
        elif not path.exists():
            raise RecordError(f"{path}: no such file or folder")
        elif not path.is_file():
            raise RecordError(f"{path}: not a file")
        elif path.suffix.lower() not in FORMATS:
            raise RecordError(f"{path}: its name does not end in {', '.join(FORMATS)}")
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and below it, sorted; what is no file (a pipe) is left out."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def open_records(file: Path) -> RecordFile:
    """A file of records; its games are read one by one. Raises RecordError if it can't be read."""
    try:
        text, encoding = decode(file.read_bytes())
    except OSError as error:
        raise RecordError(f"{file}: {error.strerror}") from error
    form = FORMATS[file.suffix.lower()]
    return RecordFile(form.name, encoding, _games(form, lines_of(text), file))


def read_games(file: Path) -> Iterator[GameRecord | RecordError]:
    """The games of a file, in order; in place of one that can't be used, why."""
    try:
        yield from open_records(file).games
    except RecordError as error:
        yield error


def _games(form: Format, lines: list[str], file: Path) -> Iterator[GameRecord | RecordError]:
    for first, part in form.split(lines):
        source = f"{file}:{first}"
        try:
            yield form.read(part, source)
        except ValueError as error:
            yield RecordError(f"{source}: {printable(str(error))}")
