"""The stored data of the fake run."""

from typing import Any

from keisei.events import Alert, Iteration
from keisei.store.matches import PLAYED, MatchGame
from keisei.testing.reader import FakeReader


def reader_of(iterations: int) -> FakeReader:
    reader = FakeReader()
    reader.iterations = [
        Iteration(run="run", step=10 * n, time=float(n), iteration=n, values={"train/kl": n / 100})
        for n in range(1, iterations + 1)
    ]
    return reader


def test_metrics_are_chosen_by_step_and_cursor() -> None:
    reader = reader_of(10)
    assert reader.metrics(start=30, end=50)["series"]["train/kl"]["iteration"] == [3, 4, 5]
    found = reader.metrics(["train/kl"], after=8)
    assert found["series"]["train/kl"]["step"] == [90, 100]
    assert found["cursor"] == 10


def test_a_long_history_is_thinned() -> None:
    found = reader_of(100).metrics(max_points=30)["series"]["train/kl"]["iteration"]
    assert found == list(range(1, 101, 4))


def test_games_and_alerts_come_in_pages_newest_first() -> None:
    reader = FakeReader()
    assert [game["id"] for game in reader.games(limit=2)] == [3, 2]
    assert [game["id"] for game in reader.games(after=2)] == [1]
    assert reader.game(4) is None
    reader.alerts = [
        Alert(run="run", step=0, time=0.0, name=name, level="info", message="") for name in "abc"
    ]
    assert [event["name"] for event in reader.events(limit=2)] == ["c", "b"]
    assert [event["name"] for event in reader.events(after=2)] == ["a"]


def test_played_games_are_kept_and_numbered() -> None:
    reader = FakeReader()
    fields: dict[str, Any] = {"pair": 0, "opening": "startpos", "start": "startpos", "plies": 1}
    fields |= {"black": "a", "white": "b", "result": "black", "reason": "resignation"}
    game = MatchGame(number=0, moves="7g7f", **fields)
    assert [reader.keep(game), reader.keep(game)] == [1, 2]
    assert [row["number"] for row in reader.match_games(PLAYED)] == [2, 1]
    assert reader.match_games() == []
    kept = reader.match_game(PLAYED, 2)
    assert kept
    assert (kept["number"], kept["moves"], kept["values"]) == (2, "7g7f", [])
    assert reader.match_game(PLAYED, 3) is None
