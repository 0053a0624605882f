"""Files of the older system named Keisei are recognised, refused, and never changed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from older_runs import contents

from keisei.cli.main import main
from keisei.config import Settings
from keisei.store import (
    CheckpointError,
    Database,
    DatabaseError,
    RunDirectory,
    RunError,
    find_checkpoint,
)
from keisei.store.directory import check_is_run
from keisei.store.older_system import refusal


def make_database(file: Path, *tables: str) -> None:
    with closing(sqlite3.connect(file)) as db:
        for table in tables:
            db.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")


def run_of_2025(path: Path) -> None:
    (path / "effective_config.json").write_text("{}")
    (path / "checkpoint_ts10000.pth").write_bytes(b"PK")


def checkpoints_of_2026(path: Path) -> None:
    (path / "epoch_00100.pt").write_bytes(b"PK")


def league_of_2026(path: Path) -> None:
    (path / "entries" / "000001").mkdir(parents=True)
    (path / "entries" / "000001" / "weights.pt").write_bytes(b"PK")


def database_of_2026(path: Path) -> None:
    make_database(path / "keisei-league.db", "schema_version", "training_state", "metrics")


@pytest.mark.parametrize(
    "make", [run_of_2025, checkpoints_of_2026, league_of_2026, database_of_2026]
)
def test_a_folder_of_the_older_system_is_refused_with_what_can_be_carried_over(
    make: object, tmp_path: Path
) -> None:
    assert callable(make)
    make(tmp_path)
    before = contents(tmp_path)
    for use, error in ((check_is_run, RunError), (find_checkpoint, CheckpointError)):
        with pytest.raises(
            error, match=r"older system named Keisei .* not even with --init; .* warmup"
        ):
            use(tmp_path)
    assert contents(tmp_path) == before


def test_every_command_refuses_a_checkpoint_of_the_older_system(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints_of_2026(tmp_path)
    file = str(tmp_path / "epoch_00100.pt")
    for words in (
        ["train", "--init", file],
        ["train", "--run", str(tmp_path), "--resume"],
        ["evaluate", file],
        ["runs", "show", str(tmp_path)],
        ["checkpoints", "verify", file],
        ["watch", str(tmp_path)],
    ):
        assert main(words) == 2, words
        assert "older system named Keisei (2025-2026)" in capsys.readouterr().err, words


def test_a_new_run_is_not_mixed_into_the_database_of_another_program(tmp_path: Path) -> None:
    make_database(tmp_path / "keisei.db", "schema_version", "training_state")
    with pytest.raises(RunError, match=r"older system .* name another folder for the new run"):
        RunDirectory.create(Settings(), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["keisei.db"]
    other = tmp_path / "other"
    other.mkdir()
    make_database(other / "keisei.db", "notes")
    before = contents(other)
    with pytest.raises(DatabaseError, match=r"keisei\.db: the database of another program"):
        Database(other / "keisei.db")
    assert contents(other) == before


def test_other_folders_are_not_taken_for_the_older_system(tmp_path: Path) -> None:
    make_database(tmp_path / "mine.db", "schema_version")
    (tmp_path / "damaged.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 99)
    (tmp_path / "model.pt").mkdir()
    run = tmp_path / "run"
    RunDirectory.create(Settings(), run).close()
    checkpoints_of_2026(run)
    for path in (tmp_path, tmp_path / "model.pt", tmp_path / "none.pt", run):
        assert refusal(path) == ""
