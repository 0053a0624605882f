"""The newest scores of a run."""

from pathlib import Path

from stored_runs import evaluate, make_run

from keisei.store import MatchTable, RunReader
from keisei.store.scores import newest_scores


def test_each_opponent_and_mode_has_its_newest_score(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    evaluate(run, 10, "random", 0.5)
    evaluate(run, 10, "material", 0.25)
    evaluate(run, 20, "random", 0.75)
    evaluate(run, 20, "random", 0.875, mode=" greedy")
    evaluate(run, 30, "random", 0.99, state="failed")
    rows = RunReader(run).evaluations()
    found = newest_scores(rows)
    assert [(row["step"], row["opponent"], row["mode"], row["score"]) for row in found] == [
        (20, "random", "greedy", 0.875),
        (20, "random", "sampled", 0.75),
        (10, "material", "sampled", 0.25),
    ]
    assert found[0]["agent"] == "run@20"
    assert found[0]["interval"] == [0.775, 0.975]
    assert [row["step"] for row in newest_scores(rows, until=10)] == [10, 10]


def test_matches_of_other_players_and_matches_without_games_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    table = MatchTable(run)
    whole = {"opponent": "random", "games": 2, "score": 0.5, "interval": [0.1, 0.9]}
    matches = [
        whole | {"agent": "other@5"},
        whole | {"agent": "usi engine"},
        {"agent": "run@5", "opponent": "material"},
        whole | {"agent": "run@5"},
    ]
    table.begin("a", 5, {"run": "run"})
    table.update("a", "done", {"run": "run", "result": {"matches": matches}})
    table.begin("b", 5, {"run": "run"})
    table.update("b", "done", {"run": "run", "result": None})
    table.close()
    (row,) = newest_scores(RunReader(run).evaluations())
    assert (row["agent"], row["opponent"]) == ("run@5", "random")
