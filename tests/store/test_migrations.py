"""Databases of earlier versions are brought up to date; those of later ones are refused."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from keisei.events import Alert
from keisei.store import Database, DatabaseError, MatchGame, MatchTable, RunReader
from keisei.store.migrations import VERSION

VERSION_1 = """
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
INSERT INTO iteration VALUES (1, 100, 1.0);
INSERT INTO metric_name VALUES (1, 'a');
INSERT INTO metric VALUES (1, 1, 0.5);
INSERT INTO game VALUES (7, 100, 1.5, 'black', 'checkmate', 1, 'self', 'self', 'startpos moves 7g7f');
INSERT INTO evaluation VALUES ('e', 1.0, 2.0, 100, 'done', '{"id": "e", "state": "done"}');
INSERT INTO event VALUES (1, 100, 1.0, 'alert', 'alert', '{"name": "x"}');
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
"""
"""Tables of the first version, with a row in each one. Never change this."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose database is of version 1."""
    with closing(sqlite3.connect(tmp_path / "keisei.db")) as connection:
        connection.executescript(VERSION_1)
    return tmp_path


def version(run: Path) -> int:
    with closing(sqlite3.connect(run / "keisei.db")) as connection:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def check_rows(run: Path) -> None:
    reader = RunReader(run)
    assert reader.metrics()["series"]["a"]["value"] == [0.5]
    assert [game["id"] for game in reader.games()] == [7]
    assert [found["id"] for found in reader.evaluations()] == ["e"]
    assert [event["name"] for event in reader.events()] == ["x"]


def test_a_reader_reads_an_old_database_and_does_not_change_it(run: Path) -> None:
    check_rows(run)
    reader = RunReader(run)
    assert (reader.match_games(), reader.outcomes(), reader.ratings()) == ([], [], [])
    assert reader.match_game("e", 0) is None
    assert version(run) == 1


@pytest.mark.parametrize("opens", [lambda run: Database(run / "keisei.db"), MatchTable])
def test_a_writer_brings_an_old_database_up_to_date(
    run: Path, opens: Callable[[Path], Database | MatchTable]
) -> None:
    for _ in range(2):  # the second time it is up to date
        opens(run).close()
        assert version(run) == VERSION == 2
        check_rows(run)
    table = MatchTable(run)
    game = MatchGame(
        number=0, pair=0, opening="startpos", black="random", white="material", result="black",
        reason="resignation", plies=1, start="startpos", moves="7g7f",
    )  # fmt: skip
    table.add("e", [game])
    assert table.games("e") == [game]
    table.close()


def test_a_live_writer_of_the_old_tables_continues(run: Path) -> None:
    """``keisei evaluate`` may be newer than the training process beside it."""
    with closing(sqlite3.connect(run / "keisei.db", isolation_level=None)) as old:
        MatchTable(run).close()
        old.execute("INSERT INTO iteration VALUES (2, 200, 2.0)")
    assert RunReader(run).metrics()["cursor"] == 2


def test_a_migration_that_fails_leaves_the_old_version_whole(run: Path) -> None:
    with closing(sqlite3.connect(run / "keisei.db")) as connection:
        connection.execute("CREATE TABLE rating (mine)")  # the last table of version 2
    with pytest.raises(DatabaseError, match=r"keisei\.db: .*table rating already exists"):
        Database(run / "keisei.db")
    assert version(run) == 1
    with closing(sqlite3.connect(run / "keisei.db")) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        assert "player" not in names
        connection.execute("DROP TABLE rating")
    Database(run / "keisei.db").close()
    check_rows(run)


def test_a_later_version_is_refused_by_readers_and_writers(run: Path) -> None:
    with closing(sqlite3.connect(run / "keisei.db")) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    known = f"format {VERSION + 1}; this one reads up to format {VERSION}"
    said = f"keisei.db: made by a newer Keisei: {known}"
    for use in (lambda: Database(run / "keisei.db"), lambda: MatchTable(run), RunReader(run).games):
        with pytest.raises(DatabaseError, match=said):
            use()
    assert version(run) == VERSION + 1


def test_a_migrated_database_has_the_tables_of_a_new_one(run: Path, tmp_path: Path) -> None:
    database = Database(tmp_path / "new.db")
    alert = Alert(run="r", step=1, time=2.0, name="n", level="warning", message="m")
    database.append([alert])
    database.close()
    Database(run / "keisei.db").close()
    schemas = []
    for file in (tmp_path / "new.db", run / "keisei.db"):
        with closing(sqlite3.connect(file)) as connection:
            schemas.append(connection.execute("SELECT name, sql FROM sqlite_schema").fetchall())
    assert schemas[0] == schemas[1]
