"""Write ``keisei.db`` (SQLite, WAL): metrics, games, evaluations and events, in batches.

Any process may write the tables of matches through ``keisei.store.matches``. The
``PRAGMA user_version`` of a database is the number of ``MIGRATIONS`` that were applied to it.
"""

import json
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keisei import formats
from keisei.events import Alert, Evaluation, Event, Game, Iteration, Status
from keisei.store.files import json_object
from keisei.store.migrations import VERSION, create_tables
from keisei.store.older_system import refusal

GAMES_KEPT = 10_000
EVENTS_KEPT = 10_000
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""SQLite's error codes for a damaged file. SQLITE_ERROR means that a table or column is missing."""
ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Exceptions that the sqlite3 module raises. Damaged text raises UnicodeDecodeError."""
_UNFIT = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    *(sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
)
"""Exceptions for an event that can't be written. Other sqlite3 errors are database errors."""


class DatabaseError(RuntimeError):
    """A database can't be used. The message names the file and says why."""


def damaged(path: Path, why: object) -> DatabaseError:
    """Return the error for a damaged database; its message says what the user can do."""
    # SQLite's message may contain line breaks and control characters, which disturb terminals.
    text = " ".join(str(why).split()).encode("unicode_escape").decode()
    return DatabaseError(
        f"{path}: damaged ({text}): restore the file from a copy, or move {path.name}* away:"
        " without this file, the run loses its metrics, games, evaluations and ratings, but"
        " keeps its checkpoints, and training resumes from the newest checkpoint"
    )


def to_database_error(path: Path, error: Exception) -> DatabaseError:
    """Turn one of ``ERRORS`` into a DatabaseError with a message for users."""
    if isinstance(error, UnicodeDecodeError):
        return damaged(path, "its tables can't be read")
    # The sqlite3 module gives no error code for text that it can't decode.
    if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DAMAGE:
        return damaged(path, error)
    return DatabaseError(f"{path}: {error}")


def read_row(path: Path, text: Any) -> dict[str, Any]:
    """Parse the JSON object in the column ``data`` of a row. Raises DatabaseError."""
    try:
        return json_object(text)
    except (TypeError, ValueError) as error:
        raise damaged(path, error) from None


class Database:
    """Writer of a run's database. Any thread may call the methods, but calls must not overlap.

    All methods raise DatabaseError if the file can't be opened or written.
    """

    def __init__(self, path: Path) -> None:
        """Open the database at ``path``. Create or migrate its tables if necessary."""
        self._path = path
        self._connection = open_database(path)
        self._file = path.stat()

    def append(self, events: Iterable[Event]) -> list[str]:
        """Write a batch of events in one transaction. If the database fails, no event is written.

        The method writes iterations, games, evaluations (only the newest state of each), statuses
        and alerts. It ignores other events. Then it deletes all games except the newest 10,000. It
        also deletes all statuses and alerts except the newest 10,000 of both kinds together.

        Returns:
            A message for each event that can't be written. All other events are written.
        """
        batch, unfit = list(events), []
        self._check_in_place()
        with transaction(self._connection, self._path) as connection:
            for event in batch:
                try:
                    with _savepoint(connection):
                        _insert(connection, event)
                except UnicodeDecodeError:  # the database is damaged, not the event
                    raise
                except _UNFIT as error:
                    unfit.append(f"{event.topic}: {type(error).__name__}: {error}")
            if any(isinstance(event, Game) for event in batch):
                _trim(connection, "game", GAMES_KEPT)
            if any(isinstance(event, Status | Alert) for event in batch):
                _trim(connection, "event", EVENTS_KEPT)
        return unfit

    def _check_in_place(self) -> None:
        """Raise DatabaseError if the file was removed or replaced.

        SQLite does not notice this, and would write rows that nobody can read.
        """
        if not self._path.exists() or not os.path.samestat(self._file, self._path.stat()):
            raise DatabaseError(
                f"{self._path}: was removed or replaced, so nothing is stored any more: put the file"
                " back, or stop the run and resume it, which makes a new file"
            )

    def check(self) -> None:
        """Check all pages (about 300 MB per second). Raises DatabaseError if a page is damaged."""
        with transaction(self._connection, self._path) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damaged(self._path, found)

    def truncate_after(self, step: int) -> None:
        """Remove the rows of steps after ``step``, the step from which the run resumes.

        Statuses stay, because they describe the process and not the training. Evaluations of
        weights from ``step`` or earlier steps stay, too. The run continues its own unfinished
        evaluations. Unfinished evaluations of the command ``keisei evaluate`` are marked as failed,
        but the same command can continue them.
        """
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "DELETE FROM metric WHERE iteration IN"
                " (SELECT iteration FROM iteration WHERE step > ?)",
                (step,),
            )
            for table in ("iteration", "game"):
                connection.execute(f"DELETE FROM {table} WHERE step > ?", (step,))  # noqa: S608
            # Remove evaluations of later weights. Training repeats the later steps, so the same
            # name would otherwise stand for two different networks.
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
                " AND evaluation <> 'play'"  # the games that people played
            )
            connection.execute(
                "DELETE FROM rating WHERE player NOT IN"
                " (SELECT black FROM match_game UNION SELECT white FROM match_game)"
            )

    def close(self) -> None:
        """Close the file. Further calls do nothing."""
        self._connection.close()


def open_database(path: Path) -> sqlite3.Connection:
    """Open a database for writing, and migrate its tables in one transaction.

    Raises DatabaseError if the file can't be opened, is damaged, or has a version above
    ``VERSION``.
    """
    check_file(path)
    try:
        return _open(path)
    except ERRORS as error:
        raise to_database_error(path, error) from error


def check_file(path: Path) -> None:
    """Raise DatabaseError if ``path`` exists but is not a regular file.

    For example, SQLite would wait forever for data from a pipe.
    """
    if path.exists() and not path.is_file():
        raise damaged(path, "not a regular file")


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        _refuse_other_programs(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        # 512 KiB: a writer that only appends does not need the default of 2 MiB.
        connection.execute("PRAGMA cache_size = -512")
        # In WAL mode, a power cut can undo the last commits, but it never damages the file.
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
    """Run a block in one write transaction, which is rolled back if the block raises.

    If the block raises one of ``ERRORS``, or the exception for a value that SQLite cannot store,
    this function raises DatabaseError instead.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except ERRORS as error:
        raise to_database_error(path, error) from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise DatabaseError(f"{path}: can't store a value: {error}") from error
    finally:
        if connection.in_transaction:
            connection.rollback()


@contextmanager
def _savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """If the block raises, undo its statements, but keep the rest of the transaction."""
    connection.execute("SAVEPOINT one")
    try:
        yield
    except BaseException:
        # On a full disk, SQLite may already have rolled back the whole transaction.
        if connection.in_transaction:
            connection.execute("ROLLBACK TO one")
        raise
    connection.execute("RELEASE one")


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a database; 0 if the database is empty.

    Raises DatabaseError if the version is later than ``VERSION``.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if why := formats.too_new(path, version, VERSION):
        raise DatabaseError(why)
    return version


def _refuse_other_programs(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DatabaseError if a database of version 0 has tables: another program made it."""
    # One query, because another process may be creating the tables at this moment.
    query = (
        "SELECT user_version = 0 AND EXISTS (SELECT * FROM sqlite_schema) FROM pragma_user_version"
    )
    if connection.execute(query).fetchone()[0]:
        why = f"{path}: the database of another program: move it away, or name another folder"
        raise DatabaseError(refusal(path) or why)


def _insert(connection: sqlite3.Connection, event: Event) -> None:
    """Write one event, if the database stores events of this class."""
    match event:
        case Iteration():
            _insert_iteration(connection, event)
        case Game(id=id, result=result, reason=reason, plies=plies, black=black, white=white):
            connection.execute(
                "INSERT INTO game VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (id, event.step, event.time, result, reason, plies, black, white, event.record),
            )
        case Evaluation():
            connection.execute(
                "INSERT INTO evaluation VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " time = excluded.time, step = excluded.step, state = excluded.state,"
                " data = excluded.data",
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
    """Delete all rows except the newest ``kept`` rows."""
    connection.execute(
        f"DELETE FROM {table} WHERE id <="  # noqa: S608 (table is one of our own names)
        f" (SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (kept,),
    )


def _json(event: Event) -> str:
    return json.dumps(event.to_dict(), ensure_ascii=False)
