"""``keisei.db`` (SQLite, WAL): metrics, games, evaluations and events, written in batches."""

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keisei.events import Alert, Evaluation, Event, Game, Iteration, Status

VERSION = 1
GAMES_KEPT = 10_000
EVENTS_KEPT = 10_000

SCHEMA = """
CREATE TABLE iteration (
    iteration INTEGER PRIMARY KEY, step INTEGER NOT NULL, time REAL NOT NULL);
CREATE INDEX iteration_step ON iteration (step);
CREATE TABLE metric_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE metric (  -- value NULL: not finite
    name INTEGER NOT NULL, iteration INTEGER NOT NULL, value REAL,
    PRIMARY KEY (name, iteration)) WITHOUT ROWID;
CREATE TABLE game (
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL, time REAL NOT NULL, result TEXT NOT NULL,
    reason TEXT NOT NULL, plies INTEGER NOT NULL, black TEXT NOT NULL, white TEXT NOT NULL,
    record TEXT NOT NULL);
CREATE TABLE evaluation (
    id TEXT PRIMARY KEY, created REAL NOT NULL, time REAL NOT NULL, step INTEGER NOT NULL,
    state TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE event (
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL, time REAL NOT NULL, topic TEXT NOT NULL,
    event TEXT NOT NULL, data TEXT NOT NULL);
"""


class DatabaseError(RuntimeError):
    """A database that can't be used. The message names the file and says why."""


class Database:
    """The write side. Calls may come from any thread but must not overlap.

    Raises DatabaseError (also from the methods) when the file can't be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = _open(path)
        except sqlite3.Error as error:
            raise DatabaseError(f"{path}: {error}") from error

    def append(self, events: Iterable[Event]) -> None:
        """Keep a batch of events in one transaction: all or, on an error, none.

        Iterations, games, evaluations (the newest state of each), statuses and alerts are kept;
        other events are passed over. Of games and of events the newest 10,000 stay.
        """
        batch = list(events)
        with self._transaction() as connection:
            for event in batch:
                _insert(connection, event)
            if any(isinstance(event, Game) for event in batch):
                _trim(connection, "game", GAMES_KEPT)
            if any(isinstance(event, Status | Alert) for event in batch):
                _trim(connection, "event", EVENTS_KEPT)

    def truncate_after(self, step: int) -> None:
        """On resume: remove what belongs to steps that the checkpoint has not seen.

        Statuses stay, they tell what happened to the process. Evaluations that were running or
        waiting are failed: nobody plays them any more.
        """
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM metric WHERE iteration IN"
                " (SELECT iteration FROM iteration WHERE step > ?)",
                (step,),
            )
            for table in ("iteration", "game", "evaluation"):
                connection.execute(f"DELETE FROM {table} WHERE step > ?", (step,))  # noqa: S608
            connection.execute("DELETE FROM event WHERE step > ? AND topic = 'alert'", (step,))
            connection.execute(
                "UPDATE evaluation SET time = ?, state = 'failed', data = json_set(data,"
                " '$.state', 'failed', '$.message', 'interrupted by the end of the process')"
                " WHERE state IN ('queued', 'running')",
                (time.time(),),
            )

    def close(self) -> None:
        """Close the file. May be called again."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise DatabaseError(f"{self._path}: {error}") from error
        finally:
            if connection.in_transaction:
                connection.rollback()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode a power cut may lose the last commits but never the file's integrity.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            create_tables(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        if version > VERSION:
            raise DatabaseError(  # noqa: TRY301
                f"{path}: version {version}; this program knows version {VERSION}"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database."""
    for statement in SCHEMA.split(";"):
        connection.execute(statement)


def _insert(connection: sqlite3.Connection, event: Event) -> None:
    match event:
        case Iteration():
            _insert_iteration(connection, event)
        case Game(id=id, result=result, reason=reason, plies=plies, black=black, white=white):
            connection.execute(
                "INSERT INTO game VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (id, event.step, event.time, result, reason, plies, black, white, event.record),
            )
        case Evaluation():
            # Progress travels by another way than the end and may arrive after it.
            connection.execute(
                "INSERT INTO evaluation VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " time = excluded.time, step = excluded.step, state = excluded.state,"
                " data = excluded.data WHERE state IN ('queued', 'running')",
                (event.id, event.time, event.time, event.step, event.state, _json(event)),
            )
        case Status() | Alert():
            connection.execute(
                "INSERT INTO event (step, time, topic, event, data) VALUES (?, ?, ?, ?, ?)",
                (event.step, event.time, event.topic, event.event, _json(event)),
            )
        case _:
            pass


def _insert_iteration(connection: sqlite3.Connection, event: Iteration) -> None:
    connection.execute(
        "INSERT INTO iteration VALUES (?, ?, ?)", (event.iteration, event.step, event.time)
    )
    connection.executemany(
        "INSERT OR IGNORE INTO metric_name (name) VALUES (?)", [(name,) for name in event.values]
    )
    connection.executemany(
        "INSERT INTO metric SELECT id, ?, ? FROM metric_name WHERE name = ?",
        [
            (event.iteration, value if math.isfinite(value) else None, name)
            for name, value in event.values.items()
        ],
    )


def _trim(connection: sqlite3.Connection, table: str, kept: int) -> None:
    connection.execute(
        f"DELETE FROM {table} WHERE id <="  # noqa: S608 (table is one of our own names)
        f" (SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (kept,),
    )


def _json(event: Event) -> str:
    return json.dumps(event.to_dict(), ensure_ascii=False)
