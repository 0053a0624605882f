"""``keisei.db`` (SQLite, WAL): metrics, games, evaluations and events, written in batches.

The tables of matches, which any process may write, are made here too; ``keisei.store.matches`` fills
them. ``PRAGMA user_version`` says which of ``MIGRATIONS`` a file has seen.
"""

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keisei.events import Alert, Evaluation, Event, Game, Iteration, Status
from keisei.store.files import json_object

GAMES_KEPT = 10_000
EVENTS_KEPT = 10_000

_TABLES = """
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
_MATCHES = """
CREATE TABLE player (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL);
CREATE TABLE opening (id INTEGER PRIMARY KEY, line TEXT NOT NULL UNIQUE);
CREATE TABLE match_game (  -- moves in USI, "values" a JSON list
    id INTEGER PRIMARY KEY, evaluation TEXT NOT NULL, number INTEGER NOT NULL,
    pair INTEGER NOT NULL, opening INTEGER NOT NULL REFERENCES opening,
    black INTEGER NOT NULL REFERENCES player, white INTEGER NOT NULL REFERENCES player,
    result TEXT NOT NULL CHECK (result IN ('black', 'white', 'draw', 'capped')),
    reason TEXT NOT NULL, plies INTEGER NOT NULL, start TEXT NOT NULL, moves TEXT NOT NULL,
    "values" TEXT NOT NULL, time REAL NOT NULL, UNIQUE (evaluation, number));
CREATE TABLE rating (
    player INTEGER PRIMARY KEY REFERENCES player, elo REAL NOT NULL, low REAL, high REAL,
    games INTEGER NOT NULL, time REAL NOT NULL);
"""
MIGRATIONS = (_TABLES, _MATCHES)
"""What makes a database of each version out of one of the version before, which is 0 for an empty one."""

VERSION = len(MIGRATIONS)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""The last: a table or a value that our statements rely on is not there."""
ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; the second where its message quotes bytes of a damaged file."""
_UNFIT = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    *(sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
)
"""What is raised for a record that can't be written; other errors are the database's own."""


class DatabaseError(RuntimeError):
    """A database that can't be used. The message names the file and says why."""


def damaged(path: Path, why: object) -> DatabaseError:
    """The error of a database that is not what was written, with what can be done about it."""
    # SQLite quotes what it found, control characters too, and writes several lines.
    text = " ".join(str(why).split()).encode("unicode_escape").decode()
    return DatabaseError(
        f"{path}: damaged ({text}): put it back from a copy, or move {path.name}* away: then the run's"
        " metrics, games, evaluations and ratings are lost, but its checkpoints stay and training"
        " resumes from the newest"
    )


def explained(path: Path, error: Exception) -> DatabaseError:
    """One of ``ERRORS``, told for a person."""
    if isinstance(error, UnicodeDecodeError):
        return damaged(path, "its tables can't be read")
    # The sqlite3 module gives no code for text that it can't decode itself.
    if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DAMAGE:
        return damaged(path, error)
    return DatabaseError(f"{path}: {error}")


def read_row(path: Path, text: Any) -> dict[str, Any]:
    """The JSON object in a column ``data``. Raises DatabaseError."""
    try:
        return json_object(text)
    except (TypeError, ValueError) as error:
        raise damaged(path, error) from None


class Database:
    """The write side. Calls may come from any thread but must not overlap.

    Raises DatabaseError (also from the methods) when the file can't be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_database(path)

    def append(self, events: Iterable[Event]) -> list[str]:
        """Keep a batch of events in one transaction: all or, on an error of the database, none.

        Iterations, games, evaluations (the newest state of each), statuses and alerts are kept;
        other events are passed over. Of games and of events the newest 10,000 stay. Returns why
        events were set aside: those that can't be written, which hold up none behind them.
        """
        batch, unfit = list(events), []
        with transaction(self._connection, self._path) as connection:
            for event in batch:
                try:
                    with _savepoint(connection):
                        _insert(connection, event)
                except UnicodeDecodeError:  # said of the database, not of the event
                    raise
                except _UNFIT as error:
                    unfit.append(f"{event.topic}: {type(error).__name__}: {error}")
            if any(isinstance(event, Game) for event in batch):
                _trim(connection, "game", GAMES_KEPT)
            if any(isinstance(event, Status | Alert) for event in batch):
                _trim(connection, "event", EVENTS_KEPT)
        return unfit

    def check(self) -> None:
        """Look at every page, a second for some 300 MB. Raises DatabaseError."""
        with transaction(self._connection, self._path) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damaged(self._path, found)

    def truncate_after(self, step: int) -> None:
        """On resume: remove what belongs to steps that the checkpoint has not seen.

        Statuses stay, they tell what happened to the process. Evaluations of weights up to the
        checkpoint's stay too, to be played on; but not those of ``keisei evaluate``, which a command
        goes on with: while that is not given, they are failed.
        """
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "DELETE FROM metric WHERE iteration IN"
                " (SELECT iteration FROM iteration WHERE step > ?)",
                (step,),
            )
            for table in ("iteration", "game"):
                connection.execute(f"DELETE FROM {table} WHERE step > ?", (step,))  # noqa: S608
            # Those of later weights: the same name may come to another network, steps are played again.
            connection.execute(
                "DELETE FROM evaluation WHERE json_extract(data, '$.measured') > ?", (step,)
            )
            connection.execute("DELETE FROM event WHERE step > ? AND topic = 'alert'", (step,))
            connection.execute(
                "UPDATE evaluation SET time = ?, state = 'failed', data = json_set(data,"
                " '$.state', 'failed', '$.message', 'interrupted by the end of the process')"
                " WHERE state IN ('queued', 'running') AND json_extract(data, '$.command')",
                (time.time(),),
            )
            connection.execute(
                "DELETE FROM match_game WHERE evaluation NOT IN (SELECT id FROM evaluation)"
            )
            connection.execute(
                "DELETE FROM rating WHERE player NOT IN"
                " (SELECT black FROM match_game UNION SELECT white FROM match_game)"
            )

    def close(self) -> None:
        """Close the file. May be called again."""
        self._connection.close()


def open_database(path: Path) -> sqlite3.Connection:
    """Open for writing, and bring the tables to this version in one transaction.

    Raises DatabaseError: the file can't be opened, is damaged, or a later version wrote it.
    """
    check_file(path)
    try:
        return _open(path)
    except ERRORS as error:
        raise explained(path, error) from error


def check_file(path: Path) -> None:
    """Refuse what is no file, before SQLite tries. Raises DatabaseError."""
    if path.exists() and not path.is_file():
        raise damaged(path, "not a regular file")


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "PRAGMA cache_size = -512"
        )  # KiB: it appends, and would keep 2 MiB of it
        # In WAL mode a power cut may lose the last commits but never the file's integrity.
        connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(connection, path):
            version = read_version(connection, path)
            if version < VERSION:
                create_tables(connection, version)
                connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """One write transaction, all or nothing.

    Turns sqlite3.Error, and what is raised for a value that no column can hold, into DatabaseError.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except ERRORS as error:
        raise explained(path, error) from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise DatabaseError(f"{path}: can't hold a value: {error}") from error
    finally:
        if connection.in_transaction:
            connection.rollback()


@contextmanager
def _savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """Statements of a transaction that are undone together, if the block raises."""
    connection.execute("SAVEPOINT one")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # after a full disk SQLite may have undone all by itself
            connection.execute("ROLLBACK TO one")
        raise
    connection.execute("RELEASE one")


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a database; 0 if it is empty. Raises DatabaseError if it is later than ours."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise DatabaseError(f"{path}: version {version}; this program knows version {VERSION}")
    return version


def create_tables(connection: sqlite3.Connection, version: int = 0) -> None:
    """Make the tables that a database of that version lacks."""
    # Not executescript: that would commit what is open.
    for script in MIGRATIONS[version:]:
        for statement in script.split(";"):
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
                " data = excluded.data WHERE state IN ('queued', 'running', 'interrupted')",
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
