"""Evaluations, their games and the ratings, written by any process beside the run's live writer."""

import json
import math
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import time as now
from typing import Any, Literal

from keisei.store.database import (
    ERRORS,
    DatabaseError,
    damaged,
    explained,
    open_database,
    read_row,
    transaction,
)
from keisei.store.layout import DATABASE_FILE

MATCH_GAME = """
SELECT game.id, evaluation, number, pair, opening.line AS opening, black.name AS black,
    white.name AS white, result, reason, plies, start, moves, "values", time
FROM match_game AS game JOIN opening ON opening.id = game.opening
    JOIN player AS black ON black.id = game.black JOIN player AS white ON white.id = game.white
"""
"""Games with names instead of ids; a WHERE may follow."""

_ADD = """
INSERT OR REPLACE INTO match_game VALUES (
    (SELECT id FROM match_game WHERE evaluation = :evaluation AND number = :number),
    :evaluation, :number, :pair, (SELECT id FROM opening WHERE line = :opening),
    (SELECT id FROM player WHERE name = :black), (SELECT id FROM player WHERE name = :white),
    :result, :reason, :plies, :start, :moves, :values, :time)
"""
_BEGIN = """
INSERT INTO evaluation VALUES (:id, :time, :time, :step, :state, :data) ON CONFLICT (id) DO UPDATE
SET time = excluded.time, step = excluded.step, state = excluded.state, data = excluded.data
"""
_BLANK = {
    "event": "evaluation",
    "strategy": "single",
    "opponent": "",
    "games": 0,
    "progress": 0.0,
    "score": None,
    "interval": None,
    "result": None,
    "message": "",
    "spec": None,
    "measured": None,
    "players": {},
}
"""What ``keisei.events.Evaluation`` says of an evaluation before the first game."""

_NETWORK = re.compile(r"@\d+( greedy)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchGame:
    """One finished game of an evaluation. Raises ValueError if its lengths don't agree."""

    number: int
    """Within the evaluation."""
    pair: int
    """Games of a pair have one opening, from both seats."""
    opening: str
    """The line that the pair was given: ``startpos moves ...`` or ``sfen ... moves ...``."""
    black: str
    """``random``, ``material``, ``<run id>@<step>``, or what names an engine."""
    white: str
    result: Literal["black", "white", "draw", "capped"]
    reason: str
    """checkmate, no_moves, repetition, perpetual_check, declaration, max_ply, illegal_move ..."""
    plies: int
    start: str
    """``startpos`` or ``sfen ...``: the position before the first of ``moves``."""
    moves: str
    """In USI, a space between two; the opening's are the first."""
    values: tuple[float | None, ...] = ()
    """What the mover expected before each move, in [-1, 1]; None: unknown. Empty: all unknown."""
    time: float = field(default_factory=now)
    """When it ended, seconds since the epoch."""

    def __post_init__(self) -> None:
        if len(self.moves.split()) != self.plies or len(self.values) not in {0, self.plies}:
            raise ValueError(
                f"game {self.number}: {self.plies} plies, {len(self.moves.split())} moves,"
                f" {len(self.values)} values"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingRow:
    """How strong a player is, by all games of the run's database."""

    player: str
    elo: float
    low: float | None
    """95 % interval of ``elo``; None: unknown."""
    high: float | None
    games: int
    time: float = field(default_factory=now)
    """When it was computed, seconds since the epoch."""


class MatchTable:
    """Writes to a run's database. Each call is one transaction; it waits 10 s for other writers.

    Needs no lock of the run. Calls may come from any thread but must not overlap. Raises
    DatabaseError (also from the methods) when the file can't be opened or written.
    """

    def __init__(self, path: Path) -> None:
        """``path``: the run directory."""
        self._run = path.absolute().name
        self._path = path / DATABASE_FILE
        self._connection = open_database(self._path)

    def begin(self, id: str, step: int, data: dict[str, Any]) -> None:
        """Write an evaluation down as running, or one that was interrupted as running again.

        ``data``: the fields of ``keisei.events.Evaluation``, those that are known, and any others.
        ``step``: of the training at the weights that it measures.
        """
        fields = {"run": self._run, **_BLANK, "state": "running", **data}
        fields |= {"id": id, "step": step, "time": now()}
        with transaction(self._connection, self._path) as connection:
            connection.execute(_BEGIN, {**fields, "data": _json(fields)})

    def update(self, id: str, state: str, data: dict[str, Any]) -> None:
        """Its new state, and those fields that changed. DatabaseError if it has not begun."""
        with transaction(self._connection, self._path) as connection:
            row = connection.execute("SELECT data FROM evaluation WHERE id = ?", (id,)).fetchone()
            if row is None:  # or a resumed run has forgotten the step that it measures
                raise DatabaseError(f"{self._path}: no evaluation {id!r}")
            fields = read_row(self._path, row[0]) | data | {"id": id, "state": state, "time": now()}
            connection.execute(
                "UPDATE evaluation SET time = :time, state = :state, data = :data WHERE id = :id",
                {**fields, "data": _json(fields)},
            )

    def add(self, evaluation: str, games: Iterable[MatchGame]) -> None:
        """Keep finished games. One with a number that is there already takes its place."""
        rows = [_row(evaluation, game) for game in games]
        names = {name for row in rows for name in (row["black"], row["white"])}
        with transaction(self._connection, self._path) as connection:
            _know_players(connection, names)
            connection.executemany("INSERT OR IGNORE INTO opening (line) VALUES (:opening)", rows)
            connection.executemany(_ADD, rows)

    def games(self, evaluation: str) -> list[MatchGame]:
        """The games kept of an evaluation, by number."""
        query = f"{MATCH_GAME} WHERE evaluation = ? ORDER BY number"
        cursor = self._connection.cursor()
        cursor.row_factory = sqlite3.Row
        try:
            return [_game(dict(row)) for row in cursor.execute(query, (evaluation,))]
        except ERRORS as error:
            raise explained(self._path, error) from error
        except (AttributeError, TypeError, ValueError) as error:
            raise damaged(self._path, error) from error

    def save_ratings(self, ratings: Iterable[RatingRow]) -> None:
        """These take the place of all ratings: they come from one fit over all games."""
        rows = [asdict(rating) for rating in ratings]
        with transaction(self._connection, self._path) as connection:
            _know_players(connection, {row["player"] for row in rows})
            connection.execute("DELETE FROM rating")
            connection.executemany(
                "INSERT INTO rating SELECT id, :elo, :low, :high, :games, :time FROM player"
                " WHERE name = :player",
                rows,
            )

    def close(self) -> None:
        """Close the file. May be called again."""
        self._connection.close()


def player_kind(name: str) -> str:
    """``random``, ``material``, ``network`` (``<run id>@<step>``) or ``engine``."""
    if name in {"random", "material"}:
        return name
    return "network" if _NETWORK.search(name) else "engine"


def read_values(text: str) -> list[float | None]:
    """The column ``values``."""
    found: list[float | None] = json.loads(text)
    return found


def _know_players(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO player (name, kind) VALUES (?, ?)",
        [(name, player_kind(name)) for name in sorted(names)],
    )


def _row(evaluation: str, game: MatchGame) -> dict[str, Any]:
    # JSON has no NaN. Four digits are more than a value head knows.
    values = [
        round(value, 4) if value is not None and math.isfinite(value) else None
        for value in game.values
    ]
    return asdict(game) | {"evaluation": evaluation, "values": json.dumps(values)}


def _game(row: dict[str, Any]) -> MatchGame:
    del row["id"], row["evaluation"]
    return MatchGame(**row | {"values": tuple(read_values(row["values"]))})


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False)
