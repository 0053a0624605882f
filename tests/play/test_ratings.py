"""Ratings of players over the games of all evaluations of a run."""

from contextlib import closing
from pathlib import Path

import pytest
from kept_games import kept_game

from keisei.evaluation.ratings import GameScore
from keisei.play.ratings import rate_all, refit
from keisei.store import RunReader
from keisei.store.matches import MatchTable


@pytest.mark.parametrize(
    ("players", "anchor"),
    [
        ("net-1 net-2 net-1 material net-1 random", "random"),
        ("net-1 net-2 net-1 material", "material"),
        ("net-1 net-2 net-1 shipped-3f2a9c@640 shipped-3f2a9c@640 material", "material"),
        ("net-1 net-2 net-1 shipped-3f2a9c@640", "shipped-3f2a9c@640"),
        ("net-1 net-2 net-1 net-3", "net-2"),
        ("net-1 net-1", "net-1"),
    ],
)
def test_the_player_at_0_elo_is_another_than_the_measured_agent(players: str, anchor: str) -> None:
    names = players.split()
    games = [GameScore(*pair, 1) for pair in zip(names[::2], names[1::2], strict=True)]
    rated = rate_all(games, "net-1")
    assert rated.anchor == anchor
    elo = {line.player: line.elo for line in rated.players}
    assert elo[anchor] == 0
    assert elo["net-1"] > 0 or anchor == "net-1"


def test_a_run_without_games_has_no_ratings(recorded_run: Path) -> None:
    assert refit(recorded_run) is None
    assert RunReader(recorded_run).ratings() == []


def test_one_fit_over_the_games_of_all_evaluations_is_kept(recorded_run: Path) -> None:
    for evaluation, white in ("first", "random"), ("second", "material"):
        games = [kept_game(0, white=white), kept_game(1, white=white, moves="2g2f 3c3d 7g7f")]
        games += [kept_game(2, white=white, result="draw")]
        with closing(MatchTable(recorded_run)) as table:
            table.begin(evaluation, 1, {})
            table.add(evaluation, games)
        rated = refit(recorded_run)
    assert rated is not None
    assert rated.anchor == "random"
    rows = RunReader(recorded_run).ratings()
    assert {row["player"]: row["games"] for row in rows} == {
        "run@1": 6, "random": 3, "material": 3,
    }  # fmt: skip
    assert rows[0]["player"] == "run@1"
    assert {row["player"]: (row["elo"], row["low"], row["high"]) for row in rows} == {
        found.player: (found.elo, *found.interval) for found in rated.players
    }
