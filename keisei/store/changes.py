"""What is new in a run's database, for a process that watches the run."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from keisei.events import Alert, Event, Failed, Game, Iteration, Status
from keisei.store.database import damaged, read_row
from keisei.store.reader import RunReader

AT_ONCE = 500
"""Maximum number of iterations, and of events, that one call of ``read`` returns."""
GAMES_SEARCHED = 1000
"""Number of games with the highest numbers among which ``read`` looks for new games.

Games get their numbers at their start, so a new game can have a lower number than an older one.
"""
_STATUS = "SELECT data FROM event WHERE topic = 'status' AND {} ORDER BY id DESC LIMIT 1"
_ELAPSED = """
SELECT total((step - before) / value) FROM (
    SELECT step, lag(step, 1, 0) OVER (ORDER BY iteration) AS before, value
    FROM iteration JOIN metric USING (iteration) JOIN metric_name AS name ON name.id = metric.name
    WHERE name.name = 'speed/steps_per_second') WHERE value > 0
"""
_ITERATION = """
SELECT iteration, step, time FROM iteration WHERE iteration > ? ORDER BY iteration LIMIT ?
"""
_VALUES = """
SELECT metric_name.name, value FROM metric_name
JOIN metric ON metric.name = metric_name.id AND metric.iteration = ?
"""
_GAMES = """
SELECT * FROM (SELECT * FROM game ORDER BY id DESC LIMIT ?) WHERE step >= ? ORDER BY step, id
"""


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of a run when a watcher begins to follow it, or when the run was resumed."""

    status: Status | None
    """Newest status, other than a saved checkpoint; None if the run has not started."""
    checkpoint: Status | None
    """Status of the newest saved checkpoint."""
    started: float | None
    """Time at which the run's newest process opened the run."""
    elapsed: float
    """Seconds of training and evaluation, without pauses."""
    iteration: Iteration | None
    evaluations: list[dict[str, Any]]
    """All evaluations, newest first."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one call of ``ChangeReader.read`` has found."""

    overview: Overview | None = None
    """The state of the run, if the watcher must begin anew; then the lists are empty."""
    events: list[Event] = field(default_factory=list)
    """New iterations, games, statuses and alerts."""
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    """New and changed evaluations."""


class ChangeReader:
    """Finds the new rows of a run's database. Each call opens the database anew, read-only."""

    def __init__(self, path: Path) -> None:
        """``path``: the run directory."""
        self._reader = RunReader(path)
        self._run = self._reader.path.name
        self.behind = False
        """Whether the last call of ``read`` left new rows for the next call."""
        self._begun = False
        self._iteration = self._event = self._step = 0
        self._games: set[int] = set()
        """Ids of the games that were found and have the newest step."""
        self._evaluations: dict[str, tuple[float, str]] = {}

    def restart(self) -> None:
        """Make the next call of ``read`` begin anew, because the database was replaced."""
        self._begun = False

    def read(self) -> Changes:
        """Return what is new since the last call. Raises DatabaseError.

        The first call returns an overview. A later call does so too if a new process has resumed
        the run, because that process has removed the rows of later steps.
        """
        with self._open() as db:
            if not self._begun or self._resumed(db):
                return Changes(overview=self._overview(db))
            found = [*self._iterations(db), *self._statuses(db), *self._new_games(db)]
            events = sorted(found, key=lambda event: event.time)
            self.behind = (self._iteration, self._event) != _newest(db)
            return Changes(events=events, evaluations=self._changed(db))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._reader.open() as db:
            try:
                yield db
            except (KeyError, AttributeError) as error:
                raise damaged(self._reader.database, error) from error

    def _resumed(self, db: sqlite3.Connection) -> bool:
        iteration, event = _newest(db)
        started = "SELECT 1 FROM event WHERE id > ? AND event = 'started' LIMIT 1"
        return (
            iteration < self._iteration
            or event < self._event
            or db.execute(started, (self._event,)).fetchone() is not None
        )

    def _overview(self, db: sqlite3.Connection) -> Overview:
        self._iteration, self._event = _newest(db)
        newest = db.execute(_ITERATION, (self._iteration - 1, 1)).fetchone()
        iteration = self._to_iteration(db, newest) if newest else None
        self._step = iteration.step if iteration else 0
        self._games = {row["id"] for row in db.execute(_GAMES, (GAMES_SEARCHED, self._step))}
        self._evaluations = {}
        started = self._status(db, "event = 'started'")
        found = Overview(
            status=self._status(db, "event != 'checkpoint'"),
            checkpoint=self._status(db, "event = 'checkpoint'"),
            started=started.time if started else None,
            elapsed=db.execute(_ELAPSED).fetchone()[0],
            iteration=iteration,
            evaluations=self._changed(db),
        )
        self._begun, self.behind = True, False
        return found

    def _status(self, db: sqlite3.Connection, condition: str) -> Status | None:
        row = db.execute(_STATUS.format(condition)).fetchone()
        found = self._to_event(row["data"]) if row else None
        return found if isinstance(found, Status) else None

    def _statuses(self, db: sqlite3.Connection) -> Iterator[Event]:
        query = "SELECT id, data FROM event WHERE id > ? ORDER BY id LIMIT ?"
        for row in db.execute(query, (self._event, AT_ONCE)).fetchall():
            yield self._to_event(row["data"])
            self._event = row["id"]

    def _to_event(self, data: str) -> Event:
        """Turn the column ``data`` of an event back into the event."""
        found = read_row(self._reader.database, data)
        kinds: dict[str, type[Event]] = {"alert": Alert, "failed": Failed}
        kind = kinds.get(found["event"], Status)
        names = {item.name for item in fields(kind)}
        return kind(**{name: value for name, value in found.items() if name in names})

    def _iterations(self, db: sqlite3.Connection) -> Iterator[Iteration]:
        for row in db.execute(_ITERATION, (self._iteration, AT_ONCE)).fetchall():
            yield self._to_iteration(db, row)
            self._iteration = row["iteration"]

    def _to_iteration(self, db: sqlite3.Connection, row: sqlite3.Row) -> Iteration:
        stored = db.execute(_VALUES, (row["iteration"],)).fetchall()
        values = {name: math.nan if value is None else value for name, value in stored}
        return Iteration(run=self._run, values=values, **row)

    def _new_games(self, db: sqlite3.Connection) -> Iterator[Game]:
        for row in db.execute(_GAMES, (GAMES_SEARCHED, self._step)).fetchall():
            if row["id"] in self._games:
                continue
            if row["step"] > self._step:
                self._step, self._games = row["step"], set()
            self._games.add(row["id"])
            yield Game(run=self._run, **row)

    def _changed(self, db: sqlite3.Connection) -> list[dict[str, Any]]:
        """Return the evaluations that are new or have changed, newest first."""
        rows = db.execute("SELECT id, time, state FROM evaluation ORDER BY created DESC").fetchall()
        changed = [id for id, *now in rows if self._evaluations.get(id) != tuple(now)]
        self._evaluations = {id: (time, state) for id, time, state in rows}
        return [found for id in changed if (found := self._reader.evaluation_in(db, id))]


def _newest(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the numbers of the newest iteration and of the newest event, 0 if there is none."""
    query = "SELECT (SELECT max(iteration) FROM iteration), (SELECT max(id) FROM event)"
    iteration, event = db.execute(query).fetchone()
    return iteration or 0, event or 0
