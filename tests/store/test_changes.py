"""What a watcher finds in a database that another connection writes."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keisei.events import Alert, Evaluation, Failed, Game, Iteration, Status
from keisei.store import Database, DatabaseError
from keisei.store.changes import AT_ONCE, ChangeReader
from keisei.store.migrations import MIGRATIONS


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The database of a run named ``run``, open for writing."""
    (tmp_path / "run").mkdir()
    with closing(Database(tmp_path / "run/keisei.db")) as database:
        yield database


@pytest.fixture
def changes(database: Database, tmp_path: Path) -> ChangeReader:
    """A reader that has not read anything yet."""
    return ChangeReader(tmp_path / "run")


def at(step: int) -> dict[str, Any]:
    """The fields that all events have."""
    return {"run": "run", "step": step, "time": float(step)}


def iteration(number: int, **values: float) -> Iteration:
    """An iteration of 10 steps, at 5 steps per second."""
    return Iteration(
        iteration=number, values={"speed/steps_per_second": 5.0} | values, **at(10 * number)
    )


def status(kind: Any, state: Any, step: int = 0) -> Status:
    return Status(kind=kind, state=state, message=kind, **at(step))


def game(id: int, step: int) -> Game:
    return Game(id=id, result="draw", reason="repetition", plies=9, record="r", **at(step))


def test_the_overview_has_the_newest_states_and_the_seconds_of_all_iterations(
    database: Database, changes: ChangeReader
) -> None:
    saved = status("checkpoint", "running", 10)
    evaluation = Evaluation(id="e", state="done", **at(20))
    database.append([status("started", "starting"), status("running", "running", 1), saved])
    database.append([iteration(1), iteration(2), evaluation])
    found = changes.read().overview
    assert found
    assert (found.status, found.checkpoint) == (status("running", "running", 1), saved)
    assert (found.started, found.elapsed, found.iteration) == (0.0, 4.0, iteration(2))
    assert [row["id"] for row in found.evaluations] == ["e"]


def test_each_event_is_found_once_and_as_it_was_sent(
    database: Database, changes: ChangeReader
) -> None:
    database.append([status("started", "starting"), iteration(1), game(9, 10)])
    assert changes.read().overview
    late = game(8, 10)  # it began before game 9, and is in a later transaction
    sent = [
        Alert(name="a", level="error", message="m", **at(10)),
        late,
        iteration(2, kl=1.0),
        Failed(message="m", type="ValueError", traceback="t", **at(20)),
        game(3, 20),
    ]
    database.append(sent)
    assert changes.read().events == sent
    assert changes.read().events == []
    database.append([iteration(3, kl=math.inf)])
    (found,) = changes.read().events
    assert isinstance(found, Iteration)
    assert math.isnan(found.values["kl"])


def test_an_evaluation_is_found_again_only_if_it_has_changed(
    database: Database, changes: ChangeReader
) -> None:
    database.append([Evaluation(id=id, state="running", **at(1)) for id in "ab"])
    changes.read()
    assert changes.read().evaluations == []
    database.append([Evaluation(id="a", state="done", score=0.5, **at(2))])
    (found,) = changes.read().evaluations
    assert (found["id"], found["score"], found["finished"]) == ("a", 0.5, 2.0)


def test_a_resumed_run_is_read_anew(database: Database, changes: ChangeReader) -> None:
    database.append([status("started", "starting"), iteration(1), iteration(2)])
    changes.read()
    database.truncate_after(10)
    found = changes.read().overview
    assert found
    assert found.iteration == iteration(1)
    database.append([status("started", "starting", 10), iteration(2)])
    found = changes.read().overview
    assert found
    assert (found.iteration, found.started) == (iteration(2), 10.0)
    database.append([iteration(3)])
    assert changes.read().events == [iteration(3)]


def test_many_new_rows_come_in_several_parts(database: Database, changes: ChangeReader) -> None:
    changes.read()
    database.append([iteration(number) for number in range(1, AT_ONCE + 2)])
    assert (len(changes.read().events), changes.behind) == (AT_ONCE, True)
    assert (len(changes.read().events), changes.behind) == (1, False)


def test_a_run_without_a_database_is_a_run_that_has_not_begun(tmp_path: Path) -> None:
    for number, prepare in enumerate((lambda file: None, lambda file: file.touch())):
        path = tmp_path / str(number)
        path.mkdir()
        prepare(path / "keisei.db")
        found = ChangeReader(path).read().overview
        assert found
        assert (found.status, found.iteration, found.elapsed) == (None, None, 0.0)


def test_a_database_of_version_1_is_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "keisei.db")) as db:
        db.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1")
    assert ChangeReader(tmp_path).read().overview


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET data = 'x'",
        "UPDATE event SET data = '{}'",
        "DROP TABLE metric_name",
        "PRAGMA user_version = 99",
    ],
)
def test_a_database_that_cannot_be_read_is_named(
    database: Database, changes: ChangeReader, tmp_path: Path, damage: str
) -> None:
    database.append([status("started", "starting")])
    with closing(sqlite3.connect(tmp_path / "run/keisei.db")) as db, db:
        db.execute(damage)
    with pytest.raises(DatabaseError, match=r"keisei\.db"):
        changes.read()
