"""Read a run's files, even while the run writes them."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from keisei.events import EVALUATION_ENDED
from keisei.store.database import (
    ERRORS,
    check_file,
    damaged,
    read_row,
    read_version,
    to_database_error,
)
from keisei.store.directory import read_config
from keisei.store.layout import CHECKPOINTS, DATABASE_FILE, checkpoint_folders
from keisei.store.manifest import CheckpointError, read_manifest
from keisei.store.matches import MATCH_GAME, read_values
from keisei.store.migrations import VERSION, create_tables

_GAME = "SELECT id, step, time, result, reason, plies, black, white, record FROM game"
_EVALUATION = "SELECT created, time, data FROM evaluation"
_SUMMARY = """
SELECT
    (SELECT step FROM iteration ORDER BY iteration DESC LIMIT 1),
    (SELECT time FROM event ORDER BY id LIMIT 1),
    (SELECT time FROM iteration ORDER BY iteration DESC LIMIT 1),
    (SELECT data FROM evaluation WHERE state = 'done' ORDER BY created DESC LIMIT 1)
"""
_RATING = """
SELECT name AS player, kind, elo, low, high, games, time
FROM rating JOIN player ON player.id = rating.player ORDER BY elo DESC
"""
_OUTCOMES = """
SELECT black.name, white.name, CASE result WHEN 'black' THEN 1.0 WHEN 'white' THEN 0.0 ELSE 0.5 END
FROM match_game AS game JOIN player AS black ON black.id = game.black
    JOIN player AS white ON white.id = game.white
WHERE evaluation <> 'play'
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
# If a SELECT has one min() or max(), SQLite takes the other columns from the row of this value.
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
    """Reader of a run's files.

    Several threads may use one reader at the same time, because each call opens the database anew.
    If the run has no database yet, the results are empty. Methods raise DatabaseError if the
    database can't be read.
    """

    def __init__(self, path: Path) -> None:
        """``path``: the run directory."""
        self.path = path.absolute()

    def config(self) -> dict[str, Any]:
        """Return the run's settings (``run.toml``). Raises RunError."""
        return read_config(self.path)

    def metric_names(self) -> list[str]:
        """Return the names of the run's metrics."""
        with self.open() as db:
            return [name for (name,) in db.execute("SELECT name FROM metric_name ORDER BY name")]

    def metrics(
        self,
        keys: Sequence[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        max_points: int = 2000,
        after: int | None = None,
    ) -> dict[str, Any]:
        """Return time series of metrics. A long series is thinned, but keeps its spikes.

        Args:
            keys: names of metrics; None means all metrics.
            start: first step to return; None means the run's first step.
            end: last step to return; None means the run's last step.
            max_points: largest number of points in a series, 5 or more. A longer series is cut
                into spans with equal numbers of iterations; only the first and the last span can be
                shorter. For each span, the result contains the smallest value, the largest value
                and, if there is one, a value that is not finite.
                The result also contains the first and the last value of the series. When the series
                grows, the bounds of its spans stay the same until the length of the spans doubles.
            after: return only iterations after this iteration. Pass the ``cursor`` of
                the previous result to get only new points.

        Returns:
            A dict of three items::

                {"series": {name: {"iteration": [...], "step": [...], "time": [...],
                                   "value": [...]}},
                 "nonfinite": [name, ...],
                 "cursor": newest iteration of the run, 0 if there is none}

            NaN and infinite values become None; ``nonfinite`` lists the metrics with such values.
        """
        if max_points < 5:
            raise ValueError(f"max_points: at least 5 (got {max_points})")
        with self.open() as db:
            names = dict(db.execute("SELECT name, id FROM metric_name ORDER BY name").fetchall())
            (cursor,) = db.execute("SELECT coalesce(max(iteration), 0) FROM iteration").fetchone()
            low, high = _range(db, start, end, after)
            chosen = list(names) if keys is None else list(dict.fromkeys(keys))
            series = {name: _series(db, names.get(name), low, high, max_points) for name in chosen}
        bad = sorted(name for name, points in series.items() if None in points["value"])
        return {"series": series, "nonfinite": bad, "cursor": cursor}

    def summary(self) -> dict[str, Any]:
        """Return the run's newest ``step`` and ``score``, and related values.

        The other values are ``started`` and ``updated``, the times of the first event and of the
        newest iteration, and ``opponent``, the opponent in the evaluation that gave the score.
        Unknown values are None.
        """
        with self.open() as db:
            step, started, updated, data = db.execute(_SUMMARY).fetchone()
        evaluation = read_row(self.database, data) if data is not None else {}
        return {
            "step": step,
            "started": started,
            "updated": updated,
            "score": evaluation.get("score"),
            "opponent": evaluation.get("opponent"),
        }

    def games(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return recorded games without their moves, newest game first.

        To get the next page, pass the last id of the previous page as ``after``.
        """
        query = f"{_GAME} WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?"
        with self.open() as db:
            games = [dict(row) for row in db.execute(query, (after, after, limit))]
        for game in games:
            del game["record"]
        return games

    def game(self, id: int) -> dict[str, Any] | None:
        """Return a recorded game with its ``record`` (``sfen ... moves ...``), or None."""
        with self.open() as db:
            row = db.execute(f"{_GAME} WHERE id = ?", (id,)).fetchone()
        return dict(row) if row else None

    def evaluations(self) -> list[dict[str, Any]]:
        """Return all evaluations, newest first.

        Each has the fields of its last event, and the times ``created`` and ``finished``.
        """
        with self.open() as db:
            rows = db.execute(f"{_EVALUATION} ORDER BY created DESC").fetchall()
        return [_evaluation(self.database, row) for row in rows]

    def evaluation(self, key: str) -> dict[str, Any] | None:
        """Return the evaluation with the id ``key``, or None if there is none."""
        with self.open() as db:
            return self.evaluation_in(db, key)

    def evaluation_in(self, db: sqlite3.Connection, key: str) -> dict[str, Any] | None:
        """Return an evaluation, or None, from the database that ``open`` has opened."""
        row = db.execute(f"{_EVALUATION} WHERE id = ?", (key,)).fetchone()
        return _evaluation(self.database, row) if row else None

    def match_games(
        self, evaluation: str | None = None, limit: int = 100, after: int | None = None
    ) -> list[dict[str, Any]]:
        """Return games of one evaluation, or of all evaluations (None), newest game first.

        The id ``keisei.store.matches.PLAYED`` stands for the games that people played.
        A game has ``evaluation``, ``id`` and the fields of ``MatchGame`` except ``moves`` and
        ``values``. To get the next page, pass the last id of the previous page as ``after``.
        """
        query = (
            f"{MATCH_GAME} WHERE evaluation = coalesce(?1, nullif(evaluation, 'play'))"
            " AND (?2 IS NULL OR game.id < ?2)"
            " ORDER BY game.id DESC LIMIT ?3"
        )
        with self._open_matches() as db:
            games = [dict(row) for row in db.execute(query, (evaluation, after, limit))]
        for game in games:
            del game["moves"], game["values"]
        return games

    def match_game(self, evaluation: str, number: int) -> dict[str, Any] | None:
        """Return one game, with ``moves`` and ``values`` (a list), or None if there is none."""
        query = f"{MATCH_GAME} WHERE evaluation = ? AND number = ?"
        with self._open_matches() as db:
            row = db.execute(query, (evaluation, number)).fetchone()
        return {**row, "values": read_values(row["values"])} if row else None

    def outcomes(self) -> list[tuple[str, str, float]]:
        """Return (black, white, black's points) of all evaluation games, oldest first.

        Games with the same players, start position, moves and result count as one game. Otherwise
        the repeated games of a second evaluation with the same seed would count again. A game that
        ended at the maximum ply gives half a point.
        """
        with self._open_matches() as db:
            return [tuple(row) for row in db.execute(_OUTCOMES)]

    def ratings(self) -> list[dict[str, Any]]:
        """Return all rated players, strongest first: the fields of ``RatingRow``, and ``kind``."""
        with self._open_matches() as db:
            return [dict(row) for row in db.execute(_RATING)]

    def events(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return the events of statuses and alerts, newest first.

        Each has the fields of the event, ``id``, ``topic``, and the event's name ``event``.
        To get the next page, pass the last id of the previous page as ``after``.
        """
        query = (
            "SELECT id, topic, event, data FROM event"
            " WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?"
        )
        with self.open() as db:
            rows = db.execute(query, (after, after, limit)).fetchall()
        return [
            {**read_row(self.database, data), "id": number, "topic": topic, "event": event}
            for number, topic, event, data in rows
        ]

    def checkpoints(self) -> list[dict[str, Any]]:
        """Return ``step``, ``path``, ``created`` and ``bytes`` of all checkpoints, newest first.

        A checkpoint with a damaged manifest also has an ``error``. Other files are not verified.
        """
        return [_checkpoint(path) for path in reversed(checkpoint_folders(self.path / CHECKPOINTS))]

    @property
    def database(self) -> Path:
        """Path of the database; the file need not exist."""
        return self.path / DATABASE_FILE

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Open the database read-only. All queries in the ``with`` block read the same snapshot.

        Raises DatabaseError, also for errors of the block.
        """
        file = self.database
        check_file(file)
        try:
            with closing(_connect(file)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("BEGIN")
                if read_version(connection, file):
                    yield connection
                    return
            with closing(_empty()) as empty:  # the run's process is making the database
                yield empty
        except ERRORS as error:
            raise to_database_error(file, error) from error
        except UnicodeEncodeError:  # an argument of the caller is not UTF-8
            raise
        except (TypeError, ValueError) as error:  # a column contains a wrong value
            raise damaged(file, error) from error

    @contextmanager
    def _open_matches(self) -> Iterator[sqlite3.Connection]:
        """Open the database; if its version has no tables of matches, open empty tables instead."""
        with self.open() as db:
            if read_version(db, self.database) >= 2:
                yield db
                return
            with closing(_empty()) as empty:
                yield empty


def _connect(file: Path) -> sqlite3.Connection:
    """Open a database read-only. If the file does not exist, return an empty database.

    A database without a WAL file has no writer. Then the connection is ``immutable``, because
    SQLite would otherwise create the files ``-wal`` and ``-shm``, even in a run that has ended.
    """
    if not file.exists():
        return _empty()
    mode = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "mode=ro&immutable=1"
    return sqlite3.connect(f"{file.as_uri()}?{mode}", uri=True, timeout=10, isolation_level=None)


def _empty() -> sqlite3.Connection:
    """Return a database with empty tables, in memory."""
    empty = sqlite3.connect(":memory:", isolation_level=None)
    empty.row_factory = sqlite3.Row
    create_tables(empty)
    empty.execute(f"PRAGMA user_version = {VERSION}")
    return empty


def _range(
    db: sqlite3.Connection, start: int | None, end: int | None, after: int | None
) -> tuple[int, int]:
    """Return the first and last iteration in a range of steps; (1, 0) if it has no iteration.

    If ``after`` is given, iterations up to ``after`` are left out.
    """
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
    """Read one metric in a range of iterations, thinned to at most ``max_points`` points."""
    bounds = {"name": name, "low": low, "high": high}
    count, nonfinite = db.execute(_COUNT, bounds).fetchone()
    shift = 0
    if count > max_points:
        each = 3 if nonfinite else 2
        # A span contains the iterations with the same ``iteration >> shift``. The range can
        # begin and end in the middle of a span.
        while each * ((high >> shift) - (low >> shift) + 1) + 2 > max_points:
            shift += 1
    rows = db.execute(_THINNED if shift else _ALL, {**bounds, "shift": shift}).fetchall()
    columns = ("iteration", "step", "time", "value")
    return {column: [row[column] for row in rows] for column in columns}


def _evaluation(file: Path, row: sqlite3.Row) -> dict[str, Any]:
    """Turn a row of the query ``_EVALUATION`` into the dict that the reader returns."""
    data = read_row(file, row["data"])
    if not (isinstance(data.get("id"), str) and isinstance(data.get("state"), str)):
        raise damaged(file, "an evaluation has no id or no state")
    data.pop("event", None)  # the event's name is not a field of an evaluation
    finished = row["time"] if data["state"] in EVALUATION_ENDED else None
    return {**data, "created": row["created"], "finished": finished}


def _checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's step, path, time and size, from its manifest."""
    found: dict[str, Any] = {"step": int(path.name), "path": str(path)}
    try:
        manifest = read_manifest(path)
    except CheckpointError as error:
        return {**found, "created": None, "bytes": None, "error": str(error)}
    size = sum(file["size"] for file in manifest["files"].values())
    return {**found, "created": manifest["created"], "bytes": size}
