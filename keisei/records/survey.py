"""List the contents of a collection of records: every file, every game, and every problem."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from keisei.records.files import FORMATS, files_below, open_records, record_files
from keisei.records.game import GameRecord, RecordError


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A file, and the games in the file."""

    file: Path
    format: str = ""
    """Name of the format: KIF, KI2, CSA or USI; empty if the file was not read."""
    encoding: str = ""
    games: tuple[GameRecord | RecordError, ...] = ()
    """Games in file order. A RecordError replaces each game that cannot be used."""
    problem: str = ""
    """Reason why the file was not read; empty if the file was read."""

    @property
    def read(self) -> list[GameRecord]:
        """Games that can be used."""
        return [game for game in self.games if isinstance(game, GameRecord)]

    @property
    def refused(self) -> list[RecordError]:
        """Errors of the games that cannot be used."""
        return [game for game in self.games if isinstance(game, RecordError)]


def survey(paths: Iterable[Path]) -> Iterator[Surveyed]:
    """Yield a ``Surveyed`` for each file that ``paths`` lists and for each file in a listed folder.

    Files in subfolders are included. Each file is read only when the iterator reaches that file.

    Raises:
        RecordError: a path does not exist, or a file that ``paths`` lists is not a record file.
    """
    files: list[Path] = []
    for path in paths:
        files += files_below(path) if path.is_dir() else record_files([path])
    return map(_survey_file, dict.fromkeys(files))


def _survey_file(file: Path) -> Surveyed:
    """Read one file; return its games, or the reason why it cannot be read."""
    if file.suffix.lower() not in FORMATS:
        return Surveyed(file, problem="skipped: not a file of game records")
    try:
        found = open_records(file)
    except RecordError as error:
        return Surveyed(file, problem=str(error).removeprefix(f"{file}: "))
    return Surveyed(file, found.format, found.encoding, tuple(found.games))
