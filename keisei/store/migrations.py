"""The tables of a run's database, and the scripts that update older databases."""

import sqlite3

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
"""The script at index k turns a database of version k (0: empty) into version k + 1."""
VERSION = len(MIGRATIONS)


def create_tables(connection: sqlite3.Connection, version: int = 0) -> None:
    """Create the tables that a database of ``version`` lacks, in the caller's transaction."""
    # `executescript` would commit the caller's transaction.
    for script in MIGRATIONS[version:]:
        for statement in script.split(";"):
            connection.execute(statement)
