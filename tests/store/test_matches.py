"""Games and ratings are written beside the run's live writer and read back."""

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keisei.events import Evaluation, Iteration
from keisei.store import Database, DatabaseError, MatchGame, MatchTable, RatingRow, RunReader
from keisei.store.matches import PLAYED


def game(number: int, **more: Any) -> MatchGame:
    fields: dict[str, Any] = {
        "pair": number // 2,
        "opening": "startpos moves 7g7f",
        "black": "run@100",
        "white": "usi:/usr/games/fairy-stockfish?Skill Level=-4",
        "result": "white",
        "reason": "resignation",
        "plies": 3,
        "start": "startpos",
        "moves": "7g7f 3c3d 2g2f",
        "values": (None, 0.25, -1.0),
        "time": 5.5,
    }
    return MatchGame(number=number, **fields | more)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[MatchTable]:
    table = MatchTable(tmp_path)
    yield table
    table.close()
    table.close()


@pytest.fixture
def live(tmp_path: Path, table: MatchTable) -> Iterator[Database]:
    """The run's own writer of the same file."""
    database = Database(tmp_path / "keisei.db")
    yield database
    database.close()


@pytest.fixture
def reader(tmp_path: Path) -> RunReader:
    return RunReader(tmp_path)


def test_games_read_back_as_they_were_written(table: MatchTable, reader: RunReader) -> None:
    games = [game(0), game(1, black="random", white="material", values=())]
    table.add("e", reversed(games))
    assert table.games("e") == games
    assert table.games("f") == []
    assert reader.match_game("e", 0) == {
        "id": 2,
        "evaluation": "e",
        "number": 0,
        "pair": 0,
        "opening": "startpos moves 7g7f",
        "black": "run@100",
        "white": "usi:/usr/games/fairy-stockfish?Skill Level=-4",
        "result": "white",
        "reason": "resignation",
        "plies": 3,
        "start": "startpos",
        "moves": "7g7f 3c3d 2g2f",
        "values": [None, 0.25, -1.0],
        "time": 5.5,
    }
    assert reader.match_game("e", 2) is None
    assert reader.match_game("f", 0) is None


def test_a_game_written_again_replaces_the_first(table: MatchTable, reader: RunReader) -> None:
    table.add("e", [game(0), game(1)])
    table.add("f", [game(0)])
    table.add("e", [game(0, result="black"), game(1)])
    assert [found.result for found in table.games("e")] == ["black", "white"]
    assert [found["id"] for found in reader.match_games()] == [3, 2, 1]
    assert len(reader.outcomes()) == 2  # "f" played a game of "e" again


def test_games_are_read_page_by_page(table: MatchTable, reader: RunReader) -> None:
    table.add("e", [game(0), game(1)])
    table.add("f", [game(0), game(1)])
    first = reader.match_games(limit=3)
    assert [(row["evaluation"], row["number"]) for row in first] == [("f", 1), ("f", 0), ("e", 1)]
    rest = reader.match_games(limit=3, after=first[-1]["id"])
    assert [(row["evaluation"], row["number"]) for row in rest] == [("e", 0)]
    assert [row["number"] for row in reader.match_games("e", limit=1)] == [1]
    assert [row["number"] for row in reader.match_games("e", after=2)] == [0]
    assert not {"moves", "values"} & first[0].keys()


def test_outcomes_are_blacks_points(table: MatchTable, reader: RunReader) -> None:
    results = ("black", "white", "draw", "capped")
    table.add("e", [game(i, result=result, white="w") for i, result in enumerate(results)])
    assert reader.outcomes() == [("run@100", "w", points) for points in (1.0, 0.0, 0.5, 0.5)]


def test_values_are_rounded_and_nan_is_unknown(table: MatchTable) -> None:
    table.add("e", [game(0, values=(math.nan, 0.123456, None))])
    (found,) = table.games("e")
    assert found.values == (None, 0.1235, None)


@pytest.mark.parametrize("wrong", [{"plies": 4}, {"values": (0.5,)}, {"moves": ""}])
def test_lengths_that_do_not_agree_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="game 6: "):
        game(6, **wrong)


def test_an_unknown_result_is_refused_and_its_batch_with_it(table: MatchTable) -> None:
    with pytest.raises(DatabaseError, match=r"keisei\.db: CHECK constraint failed"):
        table.add("e", [game(0), game(1, result="jishogi")])
    assert table.games("e") == []


def test_players_have_kinds(table: MatchTable, reader: RunReader) -> None:
    names = ["random", "material", "run@100", "usi:/bin/engine@home", "gpsfish"]
    table.save_ratings(
        RatingRow(player=name, elo=-place, low=None, high=1.5, games=2, time=3.0)
        for place, name in enumerate(names)
    )
    assert [row["kind"] for row in reader.ratings()] == [
        "random",
        "material",
        "network",
        "engine",
        "engine",
    ]
    assert reader.ratings()[1] == {
        "player": "material",
        "kind": "material",
        "elo": -1.0,
        "low": None,
        "high": 1.5,
        "games": 2,
        "time": 3.0,
    }


def test_new_ratings_replace_all_earlier_ones(table: MatchTable, reader: RunReader) -> None:
    weak = RatingRow(player="weak", elo=0.0, low=-1.0, high=1.0, games=1)
    strong = replace(weak, player="strong", elo=100.0)
    table.save_ratings([weak, replace(weak, player="gone")])
    table.save_ratings([weak, strong])
    assert [row["player"] for row in reader.ratings()] == ["strong", "weak"]
    table.save_ratings([])
    assert reader.ratings() == []


def test_an_evaluation_reads_as_one_of_the_live_run(
    table: MatchTable, live: Database, reader: RunReader
) -> None:
    table.begin("mine", 100, {"opponent": "random", "games": 20, "strategy": "single"})
    begun = reader.evaluation("mine")
    assert begun
    live.append([
        Evaluation(
            run=reader.path.name, step=100, time=begun["time"], id="mine", state="running",
            opponent="random", games=20, progress=0.0,
        )
    ])  # fmt: skip
    seen = reader.evaluation("mine")
    assert begun == {**(seen or {}), "strategy": "single"}
    assert begun["finished"] is None

    table.update("mine", "done", {"score": 0.75, "progress": 1.0, "result": {"wins": 15}})
    done = reader.evaluation("mine")
    assert done
    assert (done["state"], done["score"], done["games"]) == ("done", 0.75, 20)
    assert done["finished"] == done["time"] >= done["created"] == begun["created"]


def test_an_update_of_an_evaluation_that_was_not_begun_is_refused(table: MatchTable) -> None:
    with pytest.raises(DatabaseError, match=r"keisei\.db: no evaluation 'nowhere'"):
        table.update("nowhere", "done", {})


def test_a_resumed_run_removes_only_the_games_of_later_steps(
    table: MatchTable, live: Database, reader: RunReader
) -> None:
    for key, step in (("old", 100), ("cut", 100), ("new", 200)):
        table.begin(key, step, {"measured": step, "command": True})
        table.add(key, [game(0, black=f"run@{step}", white=key), game(1, white=key)])
    table.update("old", "done", {})
    rating = RatingRow(player="run@100", elo=0.0, low=None, high=None, games=4)
    table.save_ratings([rating, replace(rating, player="run@200")])
    live.truncate_after(100)
    assert {row["evaluation"] for row in reader.match_games()} == {"old", "cut"}
    assert len(reader.match_games()) == 4
    assert [row["player"] for row in reader.ratings()] == ["run@100"]
    cut = reader.evaluation("cut")
    assert cut
    assert (cut["state"], cut["message"]) == ("failed", "interrupted by the end of the process")
    assert cut["finished"] > cut["created"]

    table.begin("cut", 100, {"games": 4})  # goes on after its finished pair
    again = reader.evaluation("cut")
    assert again
    assert (again["state"], again["games"]) == ("running", 4)
    assert again["created"] == cut["created"]
    assert [found.number for found in table.games("cut")] == [0, 1]
    with pytest.raises(DatabaseError, match="no evaluation 'new'"):
        table.update("new", "done", {})


def test_writers_wait_for_each_other(table: MatchTable, live: Database, tmp_path: Path) -> None:
    """Nothing is lost when many connections write to one file."""

    def train() -> None:
        for number in range(1, 51):
            live.append([
                Iteration(run="r", step=number, time=1.0, iteration=number, values={"a": 1.0})
            ])  # fmt: skip

    def evaluate(key: str) -> None:
        with closing(MatchTable(tmp_path)) as own:
            own.begin(key, 1, {})
            for pair in range(15):
                own.add(key, [game(2 * pair), game(2 * pair + 1)])
            own.update(key, "done", {})

    threads = [threading.Thread(target=train)]
    threads += [threading.Thread(target=evaluate, args=(key,)) for key in ("e", "f")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = RunReader(tmp_path)
    assert reader.metrics()["cursor"] == 50
    assert [len(table.games(key)) for key in ("e", "f")] == [30, 30]
    assert {found["state"] for found in reader.evaluations()} == {"done"}


def test_a_writer_waits_for_a_long_transaction_of_another(
    table: MatchTable, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "keisei.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=table.add, args=("e", [game(0)]))
        thread.start()
        thread.join(0.3)  # nothing tells that SQLite waits
        assert thread.is_alive()
        other.execute("COMMIT")
        thread.join()
    assert len(table.games("e")) == 1


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"nowhere/keisei\.db: unable to open database file"):
        MatchTable(tmp_path / "nowhere")


def test_games_of_people_are_numbered_and_stay_apart_from_evaluations_and_ratings(
    table: MatchTable, reader: RunReader
) -> None:
    table.add("e", [game(0)])
    numbers = [table.add_played(game(9, white="Anna"), "Anna") for _ in range(2)]
    assert numbers == [1, 2]
    assert [row["number"] for row in reader.match_games(PLAYED)] == [2, 1]
    assert [row["evaluation"] for row in reader.match_games()] == ["e"]
    assert [white for _, white, _ in reader.outcomes()] == [game(0).white]
    with reader.open() as db:
        (kind,) = db.execute("SELECT kind FROM player WHERE name = 'Anna'").fetchone()
    assert kind == "human"


def test_games_of_people_outlive_a_resume_from_an_earlier_checkpoint(
    table: MatchTable, reader: RunReader
) -> None:
    table.add("e", [game(0)])  # an evaluation without a row is removed
    table.add_played(game(0), "run@100")
    with closing(Database(reader.database)) as database:
        database.truncate_after(0)
    assert reader.match_games() == []
    assert [row["number"] for row in reader.match_games(PLAYED)] == [1]
