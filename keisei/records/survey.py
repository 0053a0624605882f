"""What a collection of records holds: every file and game, read and not learned from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from keisei.records.files import FORMATS, files_below, open_records, record_files
from keisei.records.game import GameRecord, RecordError


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A file and what was found in it."""

    file: Path
    format: str = ""
    """KIF, KI2, CSA or USI; empty: the file was passed over."""
    encoding: str = ""
    games: tuple[GameRecord | RecordError, ...] = ()
    """In order; in place of one that can't be used, why."""
    problem: str = ""
    """Why nothing was read: the file can't be, or its name has another ending."""

    @property
    def read(self) -> list[GameRecord]:
        """The games that can be used."""
        return [game for game in self.games if isinstance(game, GameRecord)]

    @property
    def refused(self) -> list[RecordError]:
        """Why the others can't."""
        return [game for game in self.games if isinstance(game, RecordError)]


def survey(paths: Iterable[Path]) -> Iterator[Surveyed]:
    """The files among ``paths`` and in the folders there; each is read when it is asked for.

    Raises RecordError for a path that isn't there, and for a file of another kind that is named.
    """
    files: list[Path] = []
    for path in paths:
        files += files_below(path) if path.is_dir() else record_files([path])
    return map(_look, dict.fromkeys(files))


def _look(file: Path) -> Surveyed:
    if file.suffix.lower() not in FORMATS:
        return Surveyed(file, problem="passed over: no ending of game records")
    try:
        found = open_records(file)
    except RecordError as error:
        return Surveyed(file, problem=str(error).removeprefix(f"{file}: "))
    return Surveyed(file, found.format, found.encoding, tuple(found.games))
