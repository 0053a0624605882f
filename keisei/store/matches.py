"""Write evaluations, their games and ratings into a run's database, even while the run trains."""

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
    open_database,
    read_row,
    to_database_error,
    transaction,
)
from keisei.store.layout import DATABASE_FILE

PLAYED = "play"
"""Id that stands for the evaluation in the games that people played.

No evaluation has this id, because the ids of evaluations are hexadecimal numbers. Ratings do not
count these games."""

MATCH_GAME = """
SELECT game.id, evaluation, number, pair, opening.line AS opening, black.name AS black,
    white.name AS white, result, reason, plies, start, moves, "values", time
FROM match_game AS game JOIN opening ON opening.id = game.opening
    JOIN player AS black ON black.id = game.black JOIN player AS white ON white.id = game.white
"""
"""SQL query for games, with names in place of ids. A WHERE clause may follow."""

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
"""Values of the fields of ``keisei.events.Evaluation`` before the first game."""

_NETWORK = re.compile(r"@\d+( value| simulations=\d+)?( greedy| T=\S+)?( mates=[13])?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchGame:
    """A finished game of an evaluation.

    Raises ValueError if the number of moves or of values differs from ``plies``. But ``values`` may
    be empty.
    """

    number: int
    """Number of the game within the evaluation."""
    pair: int
    """Number of the game's pair: two games with one opening, in which the players swap colours."""
    opening: str
    """The opening, as ``startpos moves ...`` or ``sfen ... moves ...``."""
    black: str
    """Black's name: ``random``, ``material``, ``<run id>@<step>``, or the name of an engine.

    In a game that a person played, one of the names is the person's.

    ``player_kind`` says what may follow after ``<step>``."""
    white: str
    result: Literal["black", "white", "draw", "capped"]
    reason: str
    """Reason why the game ended, such as checkmate, no_moves, repetition, perpetual_check,
    declaration or max_ply."""
    plies: int
    start: str
    """Position before the first move of ``moves``: ``startpos`` or ``sfen ...``."""
    moves: str
    """All moves in USI notation, separated by spaces. The moves of the opening are included."""
    values: tuple[float | None, ...] = ()
    """For each move, the value in [-1, 1] that the mover expected before the move, or None.

    None means that the value is unknown. The tuple is empty if all values are unknown."""
    time: float = field(default_factory=now)
    """Time at which the game ended, in seconds since the epoch."""

    def __post_init__(self) -> None:
        if len(self.moves.split()) != self.plies or len(self.values) not in {0, self.plies}:
            raise ValueError(
                f"game {self.number}: {self.plies} plies, {len(self.moves.split())} moves and"
                f" {len(self.values)} values: the numbers must be equal, or values must be empty"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingRow:
    """The rating of a player, computed from all games in the run's database."""

    player: str
    elo: float
    low: float | None
    """Lower bound of the 95 % interval of ``elo``; None if unknown."""
    high: float | None
    """Upper bound of the 95 % interval of ``elo``; None if unknown."""
    games: int
    time: float = field(default_factory=now)
    """Time at which the rating was computed, in seconds since the epoch."""


class MatchTable:
    """Writer of evaluations in a run's database. It can be used while the run trains.

    The caller does not need the run's lock, because each call is one transaction. A transaction
    waits up to 10 s for other writers. Any thread may call the methods, but calls must not overlap.
    All methods raise DatabaseError if the file can't be opened or written.
    """

    def __init__(self, path: Path) -> None:
        """Open the database of the run directory ``path``."""
        self._run = path.absolute().name
        self._path = path / DATABASE_FILE
        self._connection = open_database(self._path)

    def begin(self, id: str, step: int, data: dict[str, Any]) -> None:
        """Record that an evaluation is running: a new one, or an interrupted one that continues.

        Args:
            id: the evaluation's id.
            step: training step of the weights that are evaluated.
            data: the known fields of ``keisei.events.Evaluation``, and any other fields with JSON
                values.
        """
        fields = {"run": self._run, **_BLANK, "state": "running", **data}
        fields |= {"id": id, "step": step, "time": now()}
        with transaction(self._connection, self._path) as connection:
            connection.execute(_BEGIN, {**fields, "data": _json(fields)})

    def update(self, id: str, state: str, data: dict[str, Any]) -> None:
        """Record an evaluation's new state and the fields that changed.

        Raises DatabaseError if ``begin`` was not called for this evaluation.
        """
        with transaction(self._connection, self._path) as connection:
            row = connection.execute("SELECT data FROM evaluation WHERE id = ?", (id,)).fetchone()
            if row is None:  # `begin` was not called, or a resumed run removed the row
                raise DatabaseError(f"{self._path}: no evaluation {id!r}")
            fields = read_row(self._path, row[0]) | data | {"id": id, "state": state, "time": now()}
            connection.execute(
                "UPDATE evaluation SET time = :time, state = :state, data = :data WHERE id = :id",
                {**fields, "data": _json(fields)},
            )

    def add(self, evaluation: str, games: Iterable[MatchGame]) -> None:
        """Write an evaluation's finished games. A stored game with the same number is replaced."""
        rows = [_row(evaluation, game) for game in games]
        names = {name for row in rows for name in (row["black"], row["white"])}
        with transaction(self._connection, self._path) as connection:
            _insert_players(connection, names)
            connection.executemany("INSERT OR IGNORE INTO opening (line) VALUES (:opening)", rows)
            connection.executemany(_ADD, rows)

    def add_played(self, game: MatchGame, person: str) -> int:
        """Write a game that the player ``person`` played, and return the game's new number.

        ``game.number`` does not count: played games are numbered from 1.
        """
        with transaction(self._connection, self._path) as connection:
            (number,) = connection.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM match_game WHERE evaluation = ?",
                (PLAYED,),
            ).fetchone()
            row = {**_row(PLAYED, game), "number": number}
            connection.execute(
                "INSERT OR IGNORE INTO player (name, kind) VALUES (?, 'human')", (person,)
            )
            _insert_players(connection, {row["black"], row["white"]})
            connection.execute("INSERT OR IGNORE INTO opening (line) VALUES (:opening)", row)
            connection.execute(_ADD, row)
        return int(number)

    def games(self, evaluation: str) -> list[MatchGame]:
        """Read the games of an evaluation, sorted by number."""
        query = f"{MATCH_GAME} WHERE evaluation = ? ORDER BY number"
        cursor = self._connection.cursor()
        cursor.row_factory = sqlite3.Row
        try:
            return [_game(dict(row)) for row in cursor.execute(query, (evaluation,))]
        except ERRORS as error:
            raise to_database_error(self._path, error) from error
        except (AttributeError, TypeError, ValueError) as error:
            raise damaged(self._path, error) from error

    def save_ratings(self, ratings: Iterable[RatingRow]) -> None:
        """Replace all stored ratings by ``ratings``, which must come from one fit to all games."""
        rows = [asdict(rating) for rating in ratings]
        with transaction(self._connection, self._path) as connection:
            _insert_players(connection, {row["player"] for row in rows})
            connection.execute("DELETE FROM rating")
            connection.executemany(
                "INSERT INTO rating SELECT id, :elo, :low, :high, :games, :time FROM player"
                " WHERE name = :player",
                rows,
            )

    def close(self) -> None:
        """Close the file. Further calls do nothing."""
        self._connection.close()


def player_kind(name: str) -> str:
    """Return the kind of a player: ``random``, ``material``, ``network`` or ``engine``.

    A network's name is ``<run id>@<step>``. After this name may follow, in this order: `` value``
    or `` simulations=64``; `` greedy`` or a temperature such as `` T=0.5``; `` mates=1`` or
    `` mates=3``.
    """
    if name in {"random", "material"}:
        return name
    return "network" if _NETWORK.search(name) else "engine"


def read_values(text: str) -> list[float | None]:
    """Parse the text in the column ``values`` of a game."""
    found: list[float | None] = json.loads(text)
    return found


def _insert_players(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Insert a row for each player that has no row yet."""
    connection.executemany(
        "INSERT OR IGNORE INTO player (name, kind) VALUES (?, ?)",
        [(name, player_kind(name)) for name in sorted(names)],
    )


def _row(evaluation: str, game: MatchGame) -> dict[str, Any]:
    """Return the parameters of the statement ``_ADD`` for a game."""
    # JSON has no NaN, so write null. Only the first four decimals of a value are accurate.
    values = [
        round(value, 4) if value is not None and math.isfinite(value) else None
        for value in game.values
    ]
    return asdict(game) | {"evaluation": evaluation, "values": json.dumps(values)}


def _game(row: dict[str, Any]) -> MatchGame:
    """Turn a row of the query ``MATCH_GAME`` into a game."""
    del row["id"], row["evaluation"]
    return MatchGame(**row | {"values": tuple(read_values(row["values"]))})


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False)
