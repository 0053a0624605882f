"""The database keeps whole batches, sets bad events aside and tells damage in one line."""

import math
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keisei.events import Alert, Board, Evaluation, Event, Game, Iteration, Status
from keisei.store import Database, DatabaseError, RunReader
from keisei.store import database as module


def iteration(number: int, **values: float) -> Iteration:
    return Iteration(
        run="r", step=number * 100, time=float(number), iteration=number, values=values
    )


def game(number: int, step: int = 0) -> Game:
    return Game(
        run="r",
        step=step,
        time=1.5,
        id=number,
        result="black",
        reason="checkmate",
        plies=7,
        record=f"startpos moves {number}",
    )


def fields(event: Event) -> dict[str, Any]:
    """Return what the database keeps of an event: all but its name."""
    return {key: value for key, value in event.to_dict().items() if key != "event"}


def evaluation(key: str, state: Any, **more: Any) -> Evaluation:
    fields = {"run": "r", "step": 10, "time": 1.0, "games": 20, "progress": 0.5} | more
    return Evaluation(id=key, state=state, opponent="random", **fields)


def status(kind: Any, step: int) -> Status:
    return Status(run="r", step=step, time=2.0, kind=kind, state="running")


def alert(step: int) -> Alert:
    return Alert(run="r", step=step, time=2.0, name="entropy", level="warning", message="low")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "keisei.db")
    yield database
    database.close()


@pytest.fixture
def reader(tmp_path: Path) -> RunReader:
    return RunReader(tmp_path)


def test_metrics_read_back_as_they_were_written(db: Database, reader: RunReader) -> None:
    db.append([iteration(1, a=0.5, b=2), iteration(2, a=0.25)])
    assert reader.metrics() == {
        "series": {
            "a": {
                "iteration": [1, 2],
                "step": [100, 200],
                "time": [1.0, 2.0],
                "value": [0.5, 0.25],
            },
            "b": {"iteration": [1], "step": [100], "time": [1.0], "value": [2.0]},
        },
        "nonfinite": [],
        "cursor": 2,
    }
    assert reader.metric_names() == ["a", "b"]
    assert list(reader.metrics(["b", "nonsense"])["series"]) == ["b", "nonsense"]
    assert reader.metrics(["nonsense"])["series"]["nonsense"]["value"] == []


def test_a_value_that_is_not_finite_is_none_and_its_metric_named(
    db: Database, reader: RunReader
) -> None:
    db.append([iteration(1, a=math.nan, b=1.0), iteration(2, a=-math.inf, b=1.0)])
    found = reader.metrics()
    assert found["series"]["a"]["value"] == [None, None]
    assert found["series"]["b"]["value"] == [1.0, 1.0]
    assert found["nonfinite"] == ["a"]


def test_the_newest_games_and_events_are_kept(
    db: Database, reader: RunReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GAMES_KEPT", 5)
    monkeypatch.setattr(module, "EVENTS_KEPT", 3)
    for number in range(0, 20, 4):
        db.append([*(game(number + i) for i in range(4)), alert(number)])
    assert [found["id"] for found in reader.games()] == [19, 18, 17, 16, 15]
    assert [found["step"] for found in reader.events()] == [16, 12, 8]


def test_an_evaluation_has_its_newest_state(db: Database, reader: RunReader) -> None:
    db.append([evaluation("e", "running"), evaluation("f", "queued", time=5.0)])
    assert reader.evaluation("e") == {
        **fields(evaluation("e", "running")),
        "created": 1.0,
        "finished": None,
    }
    done = evaluation(
        "e", "done", time=9.0, score=0.75, interval=(0.5, 0.9), result={"wins": 15}, progress=1.0
    )
    db.append([done])
    assert reader.evaluation("e") == {**fields(done), "created": 1.0, "finished": 9.0}
    assert [found["id"] for found in reader.evaluations()] == ["f", "e"]
    assert reader.evaluation("g") is None


def test_statuses_and_alerts_are_kept_and_boards_are_not(db: Database, reader: RunReader) -> None:
    board = Board(run="r", step=1, time=1.0, game=1, sfen="", last_move=None, ply=1, value=None)
    db.append([status("running", 1), board, alert(2)])
    assert reader.events() == [
        {"id": 2, "topic": "alert", "event": "alert", **alert(2).to_dict()},
        {"id": 1, "topic": "status", "event": "running", **status("running", 1).to_dict()},
    ]
    assert [found["id"] for found in reader.events(after=2)] == [1]


def test_a_resume_removes_what_came_after_the_checkpoint(db: Database, reader: RunReader) -> None:
    db.append(iteration(number, a=number) for number in range(1, 6))
    db.append([game(1, 300), game(2, 301), alert(300), alert(301), status("stopped", 400)])
    db.append([
        evaluation("old", "done", step=302, measured=300),
        evaluation("new", "done", step=301, measured=301),
        evaluation("cut", "running", step=302, measured=300),
        evaluation("waits", "queued", step=302),
    ])  # fmt: skip
    db.truncate_after(300)
    found = reader.metrics()
    assert found["series"]["a"]["value"] == [1, 2, 3]
    assert found["cursor"] == 3
    assert [row["id"] for row in reader.games()] == [1]
    assert [(row["topic"], row["step"]) for row in reader.events()] == [
        ("status", 400),
        ("alert", 300),
    ]
    assert reader.evaluation("new") is None
    assert reader.evaluation("old") == {
        **fields(evaluation("old", "done", step=302, measured=300)),
        "created": 1.0,
        "finished": 1.0,
    }
    states = {found["id"]: found["state"] for found in reader.evaluations()}
    assert states == {"old": "done", "cut": "running", "waits": "queued"}, "these are played on"
    db.append(iteration(number, a=-number) for number in (4, 5))
    assert reader.metrics()["series"]["a"]["value"] == [1, 2, 3, -4, -5]


def test_a_batch_is_written_whole_or_not_at_all(db: Database, reader: RunReader) -> None:
    db.append([iteration(1, a=1)])
    with closing(sqlite3.connect(db._path, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON game BEGIN SELECT no_such(); END")
        with pytest.raises(DatabaseError, match=r"keisei\.db: .*no_such"):
            db.append([iteration(2, a=2), game(1), iteration(3, a=3)])
        assert reader.metrics()["series"]["a"]["value"] == [1]
        other.execute("DROP TRIGGER full")
    db.append([iteration(2, a=2)])  # the next batch is written
    assert reader.metrics()["series"]["a"]["value"] == [1, 2]


HUGE = 2**63
SURROGATE = "run\udcff"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (iteration(1, a=3), "IntegrityError: UNIQUE constraint failed: iteration.iteration"),
        (replace(iteration(7, b=1.0), step=HUGE), "OverflowError"),
        (iteration(7, **{"b": 1.0, SURROGATE: 1.0}), "UnicodeEncodeError"),
        (iteration(7, b=1.0, c=10**400), "OverflowError"),
        (iteration(7, b=1.0, c="wide"), "TypeError"),  # type: ignore[arg-type]
        (replace(iteration(7), values=None), "TypeError"),  # type: ignore[arg-type]
        (game(HUGE), "OverflowError"),
        (replace(game(7), record=SURROGATE), "UnicodeEncodeError"),
        (replace(game(7), reason={"of": "a kind"}), "Error binding parameter"),  # type: ignore[arg-type]
        (replace(status("running", 1), run=SURROGATE), "UnicodeEncodeError"),
        (replace(alert(1), message=b"bytes"), "TypeError"),  # type: ignore[arg-type]
        (evaluation("e", "done", result={"deep": {1, 2}}), "TypeError"),
        (evaluation("e", "done", measured=1, message=SURROGATE), "UnicodeEncodeError"),
    ],
)
def test_an_event_that_cannot_be_written_does_not_hold_up_others(
    db: Database, reader: RunReader, bad: Event, said: str
) -> None:
    db.append([iteration(1, a=1)])
    (why,) = db.append([iteration(2, a=2), bad, game(1), iteration(3, a=3), alert(3)])
    assert why.startswith(f"{bad.topic}: ")
    assert said in why
    why.encode()  # an alert will hold it, which must be writable
    found = reader.metrics()["series"]
    assert found["a"]["value"] == [1, 2, 3]
    assert found.keys() == {"a"}, "nothing is left of it"
    assert [row["id"] for row in reader.games()] == [1]
    assert [row["step"] for row in reader.events()] == [3]
    assert reader.evaluations() == []


def test_written_values_are_there_after_reopening(tmp_path: Path, reader: RunReader) -> None:
    for number in (1, 2):
        database = Database(tmp_path / "keisei.db")
        database.append([iteration(number, a=number)])
        database.close()
        database.close()
    assert reader.metrics()["series"]["a"]["value"] == [1, 2]


def test_files_that_are_not_our_database_are_refused(tmp_path: Path, reader: RunReader) -> None:
    file = tmp_path / "keisei.db"
    file.write_text("not a database" * 100)
    for use in (lambda: Database(file), reader.metrics):
        with pytest.raises(DatabaseError, match=r"keisei\.db: damaged \(file is not a database\)"):
            use()
    file.unlink()
    later = sqlite3.connect(file)
    later.execute(f"PRAGMA user_version = {module.VERSION + 1}")
    later.close()
    with pytest.raises(DatabaseError, match="made by a newer Keisei: format 3; this one reads up"):
        Database(file)


def scramble(data: bytearray, chance: random.Random) -> None:
    for place in range(chance.randrange(8000), len(data), chance.randrange(30, 60)):
        data[place] ^= 0xFF


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(4):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data)) :]


def clear_a_page(data: bytearray, chance: random.Random) -> None:
    begin = 4096 * chance.randrange(len(data) // 4096)
    data[begin : begin + 4096] = bytes(4096)


@pytest.mark.parametrize("damage", [scramble, flip, cut, clear_a_page])
def test_the_error_of_a_damaged_database_is_one_line_that_says_what_to_do(
    tmp_path: Path, damage: Callable[[bytearray, random.Random], None]
) -> None:
    with closing(Database(tmp_path / "keisei.db")) as db:
        for batch in range(20):
            many = {f"name{i}": float(i) for i in range(20)}
            db.append(iteration(10 * batch + i, **many) for i in range(1, 11))
            db.append([game(batch), evaluation(f"e{batch}", "done"), alert(batch)])
    whole = (tmp_path / "keisei.db").read_bytes()
    chance, told = random.Random(0), []
    for number in range(40):
        data = bytearray(whole)
        damage(data, chance)
        run = tmp_path / str(number)
        run.mkdir()
        (run / "keisei.db").write_bytes(data)
        try:
            with closing(Database(run / "keisei.db")) as db:
                db.check()
                db.truncate_after(1000)
                db.append([evaluation("e3", "done"), iteration(99_999, name1=1.0)])
                reader = RunReader(run)
                reader.metrics(), reader.games(), reader.events(), reader.evaluations()
                reader.match_games(), reader.outcomes(), reader.ratings()
        except DatabaseError as error:
            told.append(str(error))
        shutil.rmtree(run)
    assert len(told) > 10
    for message in told:
        assert message.isprintable()
        assert "keeps its checkpoints, and training resumes" in message or ": version" in message


def a_folder(file: Path) -> None:
    file.mkdir()


def a_pipe(file: Path) -> None:
    os.mkfifo(file)


def a_loop(file: Path) -> None:
    file.symlink_to(file)


@pytest.mark.parametrize("make", [a_folder, a_pipe, a_loop])
def test_a_database_that_is_not_a_file_is_refused_without_waiting(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "keisei.db")
    uses: list[Callable[[], object]] = [
        lambda: Database(tmp_path / "keisei.db"),
        RunReader(tmp_path).metrics,
        RunReader(tmp_path).evaluations,
    ]
    for use in uses if make is not a_loop else uses[:1]:
        with pytest.raises(DatabaseError, match=r"keisei\.db: "):
            use()
