"""List what a collection of records holds: every file, every game, and every problem."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from keisei.records.files import FORMATS, files_below, open_records, record_files
from keisei.records.game import GameRecord, RecordError


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A file, and the games that were found in it."""

    file: Path
    format: str = ""
    """KIF, KI2, CSA or USI; empty if the file was not read."""
    encoding: str = ""
    games: tuple[GameRecord | RecordError, ...] = ()
    """The games in order; in place of a game that cannot be used, the error."""
    problem: str = ""
    """Why the file was not read: it cannot be read, or its name has another ending."""

    @property
    def read(self) -> list[GameRecord]:
        """The games that can be used."""
        return [game for game in self.games if isinstance(game, GameRecord)]

    @property
    def refused(self) -> list[RecordError]:
        """The errors of the games that cannot be used."""
        return [game for game in self.games if isinstance(game, RecordError)]


def survey(paths: Iterable[Path]) -> Iterator[Surveyed]:
    """Yield the files in ``paths``, and all files in and below the folders in ``paths``.

    Each file is read when the iterator reaches it.

    Raises:
        RecordError: a path does not exist, or a file in ``paths`` is not a record file.
    """
    files: list[Path] = []
    for path in paths:
        files += files_below(path) if path.is_dir() else record_files([path])
    return map(_survey_file, dict.fromkeys(files))


def _survey_file(file: Path) -> Surveyed:
    """Read one file."""
    if file.suffix.lower() not in FORMATS:
        return Surveyed(file, problem="skipped: not a file of game records")
    try:
        found = open_records(file)
    except RecordError as error:
        return Surveyed(file, problem=str(error).removeprefix(f"{file}: "))
    return Surveyed(file, found.format, found.encoding, tuple(found.games))
