"""The database and its reader, beside each other as in a run."""

import math
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keisei.config import Settings
from keisei.events import Alert, Board, Evaluation, Game, Iteration, Status
from keisei.store import Database, DatabaseError, RunDirectory, RunReader, save_checkpoint
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


def test_metrics_come_back(db: Database, reader: RunReader) -> None:
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
    assert list(reader.metrics(["b", "nonsense"])["series"]) == ["b", "nonsense"]
    assert reader.metrics(["nonsense"])["series"]["nonsense"]["value"] == []


def test_range_and_cursor(db: Database, reader: RunReader) -> None:
    db.append(iteration(number, a=number) for number in range(1, 11))

    def values(**options: Any) -> list[float]:
        found: list[float] = reader.metrics(["a"], **options)["series"]["a"]["value"]
        return found

    assert values(start=300, end=500) == [3, 4, 5]
    assert values(start=301, end=499) == [4]
    assert values(after=8) == [9, 10]
    assert values(after=8, end=900) == [9]
    assert values(after=10) == []
    assert values(start=5000) == []
    cursor = reader.metrics(after=10)["cursor"]
    db.append([iteration(11, a=11)])
    assert values(after=cursor) == [11]


def test_what_is_not_finite_is_null_and_named(db: Database, reader: RunReader) -> None:
    db.append([iteration(1, a=math.nan, b=1.0), iteration(2, a=-math.inf, b=1.0)])
    found = reader.metrics()
    assert found["series"]["a"]["value"] == [None, None]
    assert found["series"]["b"]["value"] == [1.0, 1.0]
    assert found["nonfinite"] == ["a"]


@pytest.mark.parametrize("max_points", [5, 50, 2000])
def test_thinning_keeps_spikes_and_both_ends(
    db: Database, reader: RunReader, max_points: int
) -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=5001).tolist()
    noise[1234] = 50.0
    noise[4321] = -50.0
    noise[777] = math.nan
    db.append(iteration(number, noisy=noise[number], flat=1.0) for number in range(1, 5001))
    found = reader.metrics(max_points=max_points)
    for series in found["series"].values():
        assert len(series["value"]) <= max_points
        assert series["iteration"] == sorted(set(series["iteration"]))
        assert (series["iteration"][0], series["iteration"][-1]) == (1, 5000)
        assert series["step"] == [number * 100 for number in series["iteration"]]
    noisy = dict(
        zip(
            found["series"]["noisy"]["iteration"],
            found["series"]["noisy"]["value"],
            strict=True,
        )
    )
    assert noisy[1234] == 50.0
    assert noisy[4321] == -50.0
    assert noisy[777] is None
    assert found["nonfinite"] == ["noisy"]
    assert all(noisy[number] == noise[number] for number in noisy if number != 777)


def test_thinning_does_not_move_as_the_series_grows(db: Database, reader: RunReader) -> None:
    waves = [math.sin(number) for number in range(5001)]
    db.append(iteration(number, a=waves[number]) for number in range(1, 4501))
    before = set(reader.metrics(max_points=1000)["series"]["a"]["iteration"][:-10])
    db.append(iteration(number, a=waves[number]) for number in range(4501, 4601))
    after = set(reader.metrics(max_points=1000)["series"]["a"]["iteration"])
    assert before <= after


def test_too_few_points_are_refused(db: Database, reader: RunReader) -> None:
    with pytest.raises(ValueError, match=r"max_points: at least 5 \(got 4\)"):
        reader.metrics(max_points=4)


def test_games_page_by_page(db: Database, reader: RunReader) -> None:
    db.append([game(number) for number in (3, 1, 2)])
    assert [found["id"] for found in reader.games(limit=2)] == [3, 2]
    assert [found["id"] for found in reader.games(limit=2, after=2)] == [1]
    assert reader.game(2) == {
        "id": 2,
        "step": 0,
        "time": 1.5,
        "result": "black",
        "reason": "checkmate",
        "plies": 7,
        "black": "self",
        "white": "self",
        "record": "startpos moves 2",
    }
    assert "record" not in reader.games()[0]
    assert reader.game(4) is None


def test_the_newest_games_and_events_are_kept(
    db: Database, reader: RunReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GAMES_KEPT", 5)
    monkeypatch.setattr(module, "EVENTS_KEPT", 3)
    for number in range(0, 20, 4):
        db.append([*(game(number + i) for i in range(4)), alert(number)])
    assert [found["id"] for found in reader.games()] == [19, 18, 17, 16, 15]
    assert [found["step"] for found in reader.events()] == [16, 12, 8]


def test_an_evaluation_is_its_newest_state(db: Database, reader: RunReader) -> None:
    db.append([evaluation("e", "running"), evaluation("f", "queued", time=5.0)])
    assert reader.evaluation("e") == {
        **evaluation("e", "running").to_dict(),
        "created": 1.0,
        "finished": None,
    }
    done = evaluation(
        "e", "done", time=9.0, score=0.75, interval=(0.5, 0.9), result={"wins": 15}, progress=1.0
    )
    db.append([done, evaluation("e", "running", time=9.5)])  # progress that came late
    assert reader.evaluation("e") == {**done.to_dict(), "created": 1.0, "finished": 9.0}
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


def test_resume_removes_what_the_checkpoint_has_not_seen(db: Database, reader: RunReader) -> None:
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
        **evaluation("old", "done", step=302, measured=300).to_dict(),
        "created": 1.0,
        "finished": 1.0,
    }
    states = {found["id"]: found["state"] for found in reader.evaluations()}
    assert states == {"old": "done", "cut": "running", "waits": "queued"}, "these are played on"
    db.append(iteration(number, a=-number) for number in (4, 5))
    assert reader.metrics()["series"]["a"]["value"] == [1, 2, 3, -4, -5]


def test_a_batch_is_kept_whole_or_not_at_all(db: Database, reader: RunReader) -> None:
    db.append([iteration(1, a=1)])
    with pytest.raises(DatabaseError, match=r"keisei\.db: UNIQUE constraint failed"):
        db.append([iteration(2, a=2), game(1), iteration(1, a=3)])
    assert reader.metrics()["series"]["a"]["value"] == [1]
    assert reader.games() == []
    db.append([iteration(2, a=2)])  # and the next batch is
    assert reader.metrics()["series"]["a"]["value"] == [1, 2]


def test_readers_beside_a_writer_see_whole_batches(db: Database, reader: RunReader) -> None:
    wrong: list[object] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            series = reader.metrics(max_points=20)["series"]
            ends = {name: points["iteration"][-1] for name, points in series.items()}
            if ends and (len(set(ends.values())) != 1 or ends["a"] % 5):
                wrong.append(ends)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for batch in range(100):
        db.append(iteration(batch * 5 + i, a=i, b=i) for i in range(1, 6))
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert reader.metrics()["cursor"] == 500


def test_what_was_written_is_there_after_a_reopening(tmp_path: Path, reader: RunReader) -> None:
    for number in (1, 2):
        database = Database(tmp_path / "keisei.db")
        database.append([iteration(number, a=number)])
        database.close()
        database.close()
    assert reader.metrics()["series"]["a"]["value"] == [1, 2]


def test_files_that_are_no_database_of_ours_are_told(tmp_path: Path, reader: RunReader) -> None:
    file = tmp_path / "keisei.db"
    file.write_text("not a database" * 100)
    for use in (lambda: Database(file), reader.metrics):
        with pytest.raises(DatabaseError, match=r"keisei\.db: file is not a database"):
            use()
    file.unlink()
    later = sqlite3.connect(file)
    later.execute(f"PRAGMA user_version = {module.VERSION + 1}")
    later.close()
    with pytest.raises(DatabaseError, match="version 3; this program knows version 2"):
        Database(file)


def test_a_run_that_has_not_begun_is_empty(tmp_path: Path) -> None:
    with RunDirectory.create(Settings(), tmp_path / "run #1?") as run:
        reader = RunReader(run.path)
        assert reader.metrics() == {"series": {}, "nonfinite": [], "cursor": 0}
        assert reader.games() == reader.evaluations() == reader.events() == []
        assert reader.checkpoints() == []
        assert reader.config()["net"]["kind"] == "se_resnet"
        assert not run.database.exists()  # a reader writes nothing
        Database(run.database).close()
        assert reader.metrics()["cursor"] == 0


def test_checkpoints_are_listed_newest_first(tmp_path: Path) -> None:
    with RunDirectory.create(Settings(), tmp_path / "run") as run:
        paths = [save_checkpoint(run, step, {"pool": {}}, {}) for step in (1, 2, 3)]
        (paths[1] / "manifest.json").write_text("")
        newest, damaged, oldest = RunReader(run.path).checkpoints()
    assert newest["step"] == 3
    assert newest["path"] == str(paths[2])
    assert newest["bytes"] == sum(
        file.stat().st_size for file in paths[2].iterdir() if file.name != "manifest.json"
    )
    assert oldest["created"] <= newest["created"]
    assert "manifest.json: damaged" in damaged["error"]
