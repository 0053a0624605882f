"""The reader answers from a run's files alone, also while they are written."""

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keisei.config import Settings
from keisei.events import Evaluation, Game, Iteration
from keisei.store import Database, DatabaseError, RunDirectory, RunReader, save_checkpoint


def iteration(number: int, **values: float) -> Iteration:
    return Iteration(
        run="r", step=number * 100, time=float(number), iteration=number, values=values
    )


def game(number: int) -> Game:
    return Game(
        run="r", step=0, time=1.5, id=number, result="black", reason="checkmate", plies=7,
        record=f"startpos moves {number}",
    )  # fmt: skip


def evaluation(key: str) -> Evaluation:
    return Evaluation(
        run="r",
        step=10,
        time=1.0,
        id=key,
        state="queued",
        opponent="random",
        games=20,
        progress=0.5,
    )


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "keisei.db")
    yield database
    database.close()


@pytest.fixture
def reader(tmp_path: Path) -> RunReader:
    return RunReader(tmp_path)


def test_metrics_are_limited_by_steps_and_by_the_cursor(db: Database, reader: RunReader) -> None:
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


def test_games_are_read_page_by_page(db: Database, reader: RunReader) -> None:
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


def test_a_row_that_is_not_an_evaluation_is_damage(db: Database, reader: RunReader) -> None:
    for data in ("[" * 100_000, '{"id": "e"}', "7", '{"id": ["e"], "state": "done"}', "{"):
        db.append([evaluation("e")])
        with closing(sqlite3.connect(db._path, isolation_level=None)) as other:
            other.execute("UPDATE evaluation SET data = ?", (data,))
        with pytest.raises(DatabaseError, match="damaged"):
            reader.evaluations()
        with pytest.raises(DatabaseError, match="damaged"):
            reader.evaluation("e")


def test_a_run_that_has_not_begun_has_empty_answers(tmp_path: Path) -> None:
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
