"""A read-only view of a run from its files alone, safe beside a live writer."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from keisei.events import EVALUATION_ENDED
from keisei.store.checkpoints import CheckpointError, read_manifest
from keisei.store.database import (
    ERRORS,
    check_file,
    create_tables,
    damaged,
    explained,
    read_row,
    read_version,
)
from keisei.store.directory import read_config
from keisei.store.layout import CHECKPOINTS, DATABASE_FILE, checkpoint_folders
from keisei.store.matches import MATCH_GAME, read_values

_GAME = "SELECT id, step, time, result, reason, plies, black, white, record FROM game"
_EVALUATION = "SELECT created, time, data FROM evaluation"
_RATING = """
SELECT name AS player, kind, elo, low, high, games, time
FROM rating JOIN player ON player.id = rating.player ORDER BY elo DESC
"""
_OUTCOMES = """
SELECT black.name, white.name, CASE result WHEN 'black' THEN 1.0 WHEN 'white' THEN 0.0 ELSE 0.5 END
FROM match_game AS game JOIN player AS black ON black.id = game.black
    JOIN player AS white ON white.id = game.white
GROUP BY game.black, game.white, game.start, game.moves, result ORDER BY min(game.id)
"""
_COUNT = """
SELECT count(*), count(*) - count(value) FROM metric
WHERE name = :name AND iteration BETWEEN :low AND :high
"""
_ALL = """
SELECT iteration, step, time, value FROM metric JOIN iteration USING (iteration)
WHERE name = :name AND iteration BETWEEN :low AND :high ORDER BY iteration
"""
# SQLite takes the other columns of a lone min() or max() from the row that holds it.
_THINNED = """
WITH
point AS (SELECT iteration, value FROM metric
    WHERE name = :name AND iteration BETWEEN :low AND :high),
chosen AS (
    SELECT iteration, min(value) AS value FROM point GROUP BY iteration >> :shift
    UNION SELECT iteration, max(value) FROM point GROUP BY iteration >> :shift
    UNION SELECT min(iteration), NULL FROM point WHERE value IS NULL GROUP BY iteration >> :shift
    UNION SELECT iteration, value FROM point WHERE iteration IN
        (SELECT min(iteration) FROM point UNION SELECT max(iteration) FROM point))
SELECT iteration, step, time, value FROM chosen JOIN iteration USING (iteration)
ORDER BY iteration
"""


class RunReader:
    """Queries of a run. Each opens the database anew, so any thread may ask, and many at once.

    A run whose database does not exist yet has empty answers. Raises DatabaseError if the file
    can't be read.
    """

    def __init__(self, path: Path) -> None:
        """``path``: the run directory."""
        self.path = path.absolute()

    def config(self) -> dict[str, Any]:
        """The run's settings (``run.toml``). Raises RunError."""
        return read_config(self.path)

    def metric_names(self) -> list[str]:
        """The metrics that the run has."""
        with self._open() as db:
            return [name for (name,) in db.execute("SELECT name FROM metric_name ORDER BY name")]

    def metrics(
        self,
        keys: Sequence[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        max_points: int = 2000,
        after: int | None = None,
    ) -> dict[str, Any]:
        """Time series of metrics, thinned so that no spike vanishes.

        ``keys``: names (default: all); ``start``, ``end``: steps, both included; ``after``: only
        iterations after this one (a cursor: pass the ``cursor`` of the last answer). Returns::

            {"series": {name: {"iteration": [...], "step": [...], "time": [...], "value": [...]}},
             "nonfinite": [name, ...], "cursor": newest iteration of the run, 0 if there is none}

        A value that was NaN or infinite is None, and its name is in ``nonfinite``. A series of more
        than ``max_points`` (at least 5) is cut into spans of equally many iterations, of which the
        smallest and the largest value are kept, a non-finite one too, and the first and the last
        of all. The spans do not move as the series grows, until they double.
        """
        if max_points < 5:
            raise ValueError(f"max_points: at least 5 (got {max_points})")
        with self._open() as db:
            names = dict(db.execute("SELECT name, id FROM metric_name ORDER BY name").fetchall())
            (cursor,) = db.execute("SELECT coalesce(max(iteration), 0) FROM iteration").fetchone()
            low, high = _range(db, start, end, after)
            chosen = list(names) if keys is None else list(dict.fromkeys(keys))
            series = {name: _series(db, names.get(name), low, high, max_points) for name in chosen}
        bad = sorted(name for name, points in series.items() if None in points["value"])
        return {"series": series, "nonfinite": bad, "cursor": cursor}

    def games(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Recorded games without their moves, newest first.

        ``after``: the id that the last page ended with.
        """
        query = f"{_GAME} WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?"
        with self._open() as db:
            games = [dict(row) for row in db.execute(query, (after, after, limit))]
        for game in games:
            del game["record"]
        return games

    def game(self, number: int) -> dict[str, Any] | None:
        """A recorded game with its ``record`` (``sfen ... moves ...``), or None."""
        with self._open() as db:
            row = db.execute(f"{_GAME} WHERE id = ?", (number,)).fetchone()
        return dict(row) if row else None

    def evaluations(self) -> list[dict[str, Any]]:
        """All evaluations, newest first: the newest event of each, ``created`` and ``finished``."""
        with self._open() as db:
            rows = db.execute(f"{_EVALUATION} ORDER BY created DESC").fetchall()
        return [_evaluation(self._database, row) for row in rows]

    def evaluation(self, key: str) -> dict[str, Any] | None:
        """One evaluation, or None."""
        with self._open() as db:
            row = db.execute(f"{_EVALUATION} WHERE id = ?", (key,)).fetchone()
        return _evaluation(self._database, row) if row else None

    def match_games(
        self, evaluation: str | None = None, limit: int = 100, after: int | None = None
    ) -> list[dict[str, Any]]:
        """Games of evaluations (of all, or of one), newest first, without ``moves`` and ``values``.

        The fields of ``MatchGame``, ``evaluation`` and ``id``. ``after``: the id that the last page
        ended with.
        """
        query = (
            f"{MATCH_GAME} WHERE (?1 IS NULL OR evaluation = ?1) AND (?2 IS NULL OR game.id < ?2)"
            " ORDER BY game.id DESC LIMIT ?3"
        )
        with self._open_matches() as db:
            games = [dict(row) for row in db.execute(query, (evaluation, after, limit))]
        for game in games:
            del game["moves"], game["values"]
        return games

    def match_game(self, evaluation: str, number: int) -> dict[str, Any] | None:
        """A game of an evaluation with its ``moves`` and ``values`` (a list), or None."""
        query = f"{MATCH_GAME} WHERE evaluation = ? AND number = ?"
        with self._open_matches() as db:
            row = db.execute(query, (evaluation, number)).fetchone()
        return {**row, "values": read_values(row["values"])} if row else None

    def outcomes(self) -> list[tuple[str, str, float]]:
        """All games of evaluations, oldest first: black, white, black's points.

        A game that was played again, move by move, as the same seed does, counts once.

        Those cut at the maximum ply count as half a point for each.
        """
        with self._open_matches() as db:
            return [tuple(row) for row in db.execute(_OUTCOMES)]

    def ratings(self) -> list[dict[str, Any]]:
        """The newest ratings, strongest first: ``player``, ``kind`` and the fields of ``RatingRow``."""
        with self._open_matches() as db:
            return [dict(row) for row in db.execute(_RATING)]

    def events(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Statuses and alerts, newest first: the event's fields, ``id``, ``topic``, ``event``.

        ``after``: the id that the last page ended with.
        """
        query = (
            "SELECT id, topic, event, data FROM event"
            " WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?"
        )
        with self._open() as db:
            rows = db.execute(query, (after, after, limit)).fetchall()
        return [
            {**read_row(self._database, data), "id": number, "topic": topic, "event": event}
            for number, topic, event, data in rows
        ]

    def checkpoints(self) -> list[dict[str, Any]]:
        """Checkpoints, newest first: ``step``, ``path``, ``created``, ``bytes``.

        And ``error`` if the manifest is damaged; the other files are verified by loading only.
        """
        return [_checkpoint(path) for path in reversed(checkpoint_folders(self.path / CHECKPOINTS))]

    @property
    def _database(self) -> Path:
        return self.path / DATABASE_FILE

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        file = self._database
        check_file(file)
        try:
            with closing(_connect(file)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("BEGIN")  # one snapshot for all the queries of a call
                read_version(connection, file)
                yield connection
        except ERRORS as error:
            raise explained(file, error) from error
        except UnicodeEncodeError:  # what was asked for is no text
            raise
        except (TypeError, ValueError) as error:  # a column that is not what was written there
            raise damaged(file, error) from error

    @contextmanager
    def _open_matches(self) -> Iterator[sqlite3.Connection]:
        """The same for the tables of matches, which come with version 2: before it they are empty."""
        with self._open() as db:
            if read_version(db, self._database) >= 2:
                yield db
                return
            with closing(_empty()) as empty:
                yield empty


def _connect(file: Path) -> sqlite3.Connection:
    if file.exists():
        return sqlite3.connect(
            f"{file.as_uri()}?mode=ro", uri=True, timeout=10, isolation_level=None
        )
    return _empty()


def _empty() -> sqlite3.Connection:
    """A database in which nothing has happened yet."""
    empty = sqlite3.connect(":memory:", isolation_level=None)
    create_tables(empty)
    return empty


def _range(
    db: sqlite3.Connection, start: int | None, end: int | None, after: int | None
) -> tuple[int, int]:
    """Steps to iterations: both grow together."""
    query = (
        "SELECT min(iteration), max(iteration) FROM iteration"
        " WHERE (?1 IS NULL OR step >= ?1) AND (?2 IS NULL OR step <= ?2)"
    )
    low, high = db.execute(query, (start, end)).fetchone()
    if low is None:
        return 1, 0
    return (low if after is None else max(low, after + 1)), high


def _series(
    db: sqlite3.Connection, name: int | None, low: int, high: int, max_points: int
) -> dict[str, list[Any]]:
    bounds = {"name": name, "low": low, "high": high}
    count, nonfinite = db.execute(_COUNT, bounds).fetchone()
    shift = 0
    if count > max_points:
        each = 3 if nonfinite else 2
        # One span more than the quotient: the range may begin and end inside a span.
        while each * ((high >> shift) - (low >> shift) + 1) + 2 > max_points:
            shift += 1
    rows = db.execute(_THINNED if shift else _ALL, {**bounds, "shift": shift}).fetchall()
    columns = ("iteration", "step", "time", "value")
    return {column: [row[column] for row in rows] for column in columns}


def _evaluation(file: Path, row: sqlite3.Row) -> dict[str, Any]:
    data = read_row(file, row["data"])
    if not (isinstance(data.get("id"), str) and isinstance(data.get("state"), str)):
        raise damaged(file, "an evaluation without id and state")
    data.pop("event", None)  # the row is the newest event of the evaluation
    finished = row["time"] if data["state"] in EVALUATION_ENDED else None
    return {**data, "created": row["created"], "finished": finished}


def _checkpoint(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"step": int(path.name), "path": str(path)}
    try:
        manifest = read_manifest(path)
    except CheckpointError as error:
        return {**found, "created": None, "bytes": None, "error": str(error)}
    size = sum(file["size"] for file in manifest["files"].values())
    return {**found, "created": manifest["created"], "bytes": size}
