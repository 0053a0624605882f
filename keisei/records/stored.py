"""Turn the games in a run's database into game records."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from keisei.records.write import GameToWrite, write_csa, write_json, write_kif, write_usi

FormatName = Literal["kif", "csa", "usi", "json"]

_NOT_A_NAME = re.compile(r"[^\w.-]", re.ASCII)
_SHARED = ("black", "white", "result", "reason", "time")


@dataclass(frozen=True, slots=True)
class Format:
    """A format of game records."""

    ending: str
    """Ending of the files' names."""
    media: str
    """Media type of the files."""
    write: Callable[[GameToWrite], str]


# Other programs expect Shift_JIS in .kif files and UTF-8 in .kifu files.
FORMATS: dict[FormatName, Format] = {
    "kif": Format(".kifu", "application/x-kif", write_kif),
    "csa": Format(".csa", "application/x-csa", write_csa),
    "usi": Format(".usi", "text/plain", write_usi),
    "json": Format(".json", "application/json", write_json),
}


def self_play_game(row: Mapping[str, Any]) -> GameToWrite:
    """Return the game that a row describes. ``RunReader.game`` returns such rows."""
    start, _, moves = row["record"].partition(" moves ")
    return GameToWrite(
        **{name: row[name] for name in _SHARED},
        start=start,
        moves=moves.split(),
        event=f"self-play, game {row['id']}",
    )


def evaluation_game(row: Mapping[str, Any]) -> GameToWrite:
    """Return the game that a row describes. ``RunReader.match_game`` returns such rows."""
    return GameToWrite(
        **{name: row[name] for name in _SHARED},
        start=row["start"],
        moves=row["moves"].split(),
        values=row["values"],
        event=f"evaluation {row['evaluation']}, game {row['number']}",
    )


def played_game(row: Mapping[str, Any]) -> GameToWrite:
    """Return the game of a person that a row describes. ``RunReader.match_game`` returns it."""
    return replace(evaluation_game(row), event=f"play, game {row['number']}")


def self_play_name(row: Mapping[str, Any]) -> str:
    """Return the name of a self-play game's file, without its ending."""
    return f"self-play-{row['id']:08d}"


def evaluation_name(row: Mapping[str, Any]) -> str:
    """Return the name of an evaluation game's file, without its ending."""
    return f"{_NOT_A_NAME.sub('_', row['evaluation'])}-{row['number']:04d}"
