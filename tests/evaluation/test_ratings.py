"""Ratings: closed forms, planted strengths, and players whom the games do not connect."""

import json
import math
from itertools import permutations

import numpy as np
import pytest

from keisei.evaluation.ratings import GameScore, Rating, Ratings, rate


def line(table: Ratings, player: str) -> Rating:
    return next(found for found in table.players if found.player == player)


def results(black: str, white: str, wins: int, draws: int, losses: int) -> list[GameScore]:
    """Games with so many wins, draws and losses of black."""
    kinds = ((1.0, wins), (0.5, draws), (0.0, losses))
    return [GameScore(black, white, score) for score, times in kinds for _ in range(times)]


def both_seats(one: str, other: str, wins: int, draws: int, losses: int) -> list[GameScore]:
    return results(one, other, wins, draws, losses) + results(other, one, losses, draws, wins)


def planted(
    elo: dict[str, float], rng: np.random.Generator, rounds: int, *, draw: float = 0.4,
    first: float = 30.0, same: float = 0.0,
) -> list[GameScore]:  # fmt: skip
    """Games of every pair of players from both seats, drawn from the model with these strengths.

    ``elo`` is that of the unscaled odds. ``same``: share of pairs in which both games have the same
    winner.
    """
    games: list[GameScore] = []
    for one, other in list(permutations(elo, 2)) * rounds:
        d = (elo[one] - elo[other]) * math.log(10) / 400
        move = first * math.log(10) / 400
        score = 0.0
        for black in (True, False):
            x = d + move if black else d - move
            odds = np.exp([x / 2, math.log(draw), -x / 2])
            if black or rng.random() >= same:
                score = float(rng.choice([1, 0.5, 0], p=odds / odds.sum()))
            names, points = ((one, other), score) if black else ((other, one), 1 - score)
            games.append(GameScore(*names, points))
    return games


def bootstrap(games: list[GameScore], samples: int) -> dict[str, tuple[float, float]]:
    """95 % intervals of the ratings of ``planted`` games, without the model's independence.

    Pairs of games are drawn anew, with replacement, and rated (percentile bootstrap, B. Efron 1979,
    Annals of Statistics 7:1).
    """
    rng = np.random.default_rng(0)
    pairs = len(games) // 2
    drawn = []
    for _ in range(samples):
        chosen = [g for k in rng.integers(pairs, size=pairs) for g in games[2 * k : 2 * k + 2]]
        drawn.append({found.player: found.elo for found in rate(chosen).players})
    return {
        name: tuple(np.quantile([sample[name] for sample in drawn], [0.025, 0.975]))
        for name in drawn[0]
    }


def test_two_players_have_the_closed_form() -> None:
    """Davidson: d = ln(wins / losses), v = draws / sqrt(wins * losses)."""
    table = rate(both_seats("a", "random", 3000, 500, 1500))
    v = 500 / math.sqrt(3000 * 1500)
    a = line(table, "a")
    assert a.elo == pytest.approx(400 * math.log10(2) * 2 / (2 + v), abs=0.2)
    assert table.draws == pytest.approx(v / (2 + v), abs=1e-3)
    assert table.first_move == pytest.approx(0, abs=1e-6)
    assert (a.games, a.score, a.basis) == (10_000, 0.65, "games")
    assert a.elo == pytest.approx(400 * math.log10(0.65 / 0.35), rel=0.01)  # as the match says


def test_the_interval_of_two_players_is_that_of_the_closed_form() -> None:
    """By the delta method from the multinomial distribution of wins, draws and losses."""
    count = np.array([3000.0, 3000.0, 500.0])

    def closed(wins: float, draws: float, losses: float) -> float:
        return 400 * math.log10(wins / losses) * 2 / (2 + draws / math.sqrt(wins * losses))

    slope = np.array([closed(*(count + step)) - closed(*(count - step)) for step in np.eye(3)]) / 2
    error = 1.96 * math.sqrt(2 * (count @ slope**2)) / 2  # both seats: twice the games
    found = line(rate(both_seats("a", "random", 3000, 3000, 500)), "a")
    assert found.interval == pytest.approx((found.elo - error, found.elo + error), abs=0.05)
    assert found.elo == pytest.approx(closed(*count), abs=0.2)


def test_without_draws_it_is_the_logistic_formula() -> None:
    table = rate(both_seats("a", "random", 1500, 0, 500))
    a = line(table, "a")
    assert a.elo == pytest.approx(400 * math.log10(3), abs=0.5)
    error = 400 / math.log(10) / math.sqrt(4000 * 0.75 * 0.25)
    assert a.interval == pytest.approx((a.elo - 1.96 * error, a.elo + 1.96 * error), abs=0.3)
    assert line(table, "random") == Rating("random", 0.0, (0.0, 0.0), 4000, 0.25, "games")


def test_the_worth_of_the_first_move_is_found() -> None:
    table = rate(results("a", "random", 600, 0, 400) + results("random", "a", 600, 0, 400))
    assert table.first_move == pytest.approx(400 * math.log10(1.5), abs=1)
    assert table.first_move_interval[0] < 70.4 < table.first_move_interval[1]
    assert line(table, "a").elo == pytest.approx(0, abs=1e-6)
    alone = rate(results("random", "random", 600, 0, 400))
    assert alone.first_move == pytest.approx(table.first_move, abs=1)


def test_a_player_who_met_only_strong_ones_is_rated_through_them() -> None:
    games = both_seats("a", "random", 900, 0, 100) + both_seats("b", "a", 500, 0, 500)
    table = rate(games)
    assert line(table, "b").elo == pytest.approx(line(table, "a").elo, abs=1)
    wide, narrow = (np.ptp(line(table, name).interval) for name in ("b", "a"))
    assert wide / narrow == pytest.approx(math.sqrt(1 + 0.09 / 0.25), rel=0.01)


def test_unbeaten_and_unconnected_players_are_marked() -> None:
    games = (
        both_seats("a", "random", 20, 0, 0)  # random never scored
        + both_seats("b", "a", 10, 3, 7)
        + both_seats("x", "y", 15, 0, 5)
        + both_seats("z", "random", 0, 0, 5)
    )
    table = rate(games)
    basis = {found.player: found.basis for found in table.players}
    assert basis == {
        "random": "games", "a": "one-sided", "b": "one-sided", "x": "prior", "y": "prior",
        "z": "one-sided",
    }  # fmt: skip
    assert 500 < line(table, "a").elo < 2000
    low, high = line(table, "a").interval
    assert low > 0
    assert high - low > 500
    low, high = line(table, "x").interval
    assert high - low > 3000
    assert low < line(table, "random").elo < line(table, "a").elo < high
    x, y = line(table, "x"), line(table, "y")
    assert x.elo - y.elo == pytest.approx(400 * math.log10(3), rel=0.05)
    both = {
        found.player: found.basis for found in rate(games + results("random", "a", 0, 1, 0)).players
    }
    assert (both["a"], both["b"], both["x"]) == ("games", "games", "prior")


def test_another_anchor_only_shifts_the_ratings() -> None:
    games = planted({"random": 0, "a": 200, "b": 350}, np.random.default_rng(1), 30)
    at_random, at_a = rate(games), rate(games, "a")
    for name in ("a", "b"):
        shift = line(at_random, name).elo - line(at_random, "a").elo
        assert line(at_a, name).elo == pytest.approx(shift, abs=1e-6)
    assert line(at_a, "a").interval == (0, 0)
    assert [found.player for found in at_a.players] == ["b", "a", "random"]


PLANTED = {"random": 0.0, "a": 100.0, "b": 250.0, "c": 300.0, "d": 500.0}
UNIT = 2 / 2.4  # of the planted draws


def test_intervals_cover_the_planted_strengths_19_times_in_20() -> None:
    rng = np.random.default_rng(2)
    covered = dict.fromkeys([*PLANTED, "first"], 0)
    runs = 200
    for _ in range(runs):
        table = rate(planted(PLANTED, rng, 3))
        for found in table.players:
            low, high = found.interval
            covered[found.player] += low <= PLANTED[found.player] * UNIT <= high
        low, high = table.first_move_interval
        covered["first"] += low <= 30 * UNIT <= high
    del covered["random"]
    print(f"\ncovered, of {runs}: {covered}")
    assert all(0.9 <= n / runs <= 0.99 for n in covered.values())
    assert 0.93 <= sum(covered.values()) / runs / len(covered) <= 0.97


@pytest.mark.parametrize(("same", "ratio"), [(0.0, 1.0), (0.8, math.sqrt(1.8))])
def test_the_intervals_agree_with_the_bootstrap_where_games_are_independent(
    same: float, ratio: float
) -> None:
    """Where openings decide, games of a pair depend on each other: the bootstrap is wider."""
    games = planted(PLANTED, np.random.default_rng(3), 20, same=same, first=0.0)
    found, table = bootstrap(games, 300), rate(games)
    assert found["random"] == (0, 0)
    names = [name for name in PLANTED if name != "random"]
    widths = [np.ptp(found[name]) / np.ptp(line(table, name).interval) for name in names]
    print(f"\nsame {same}: bootstrap / Hessian {np.round(widths, 2)}")
    assert np.mean(widths) == pytest.approx(ratio, rel=0.12)


def test_ratings_become_json() -> None:
    found = json.loads(json.dumps(rate(both_seats("a", "random", 2, 1, 1)).to_dict()))
    assert found["anchor"] == "random"
    assert set(found) == {"anchor", "players", "first_move", "first_move_interval", "draws"}
    assert [player["player"] for player in found["players"]] == ["a", "random"]
    assert set(found["players"][0]) == {"player", "elo", "interval", "games", "score", "basis"}


def test_a_missing_anchor_and_a_wrong_score_are_refused() -> None:
    with pytest.raises(ValueError, match=r"anchor: a player with games .got 'random'"):
        rate([GameScore("a", "b", 1)])
    with pytest.raises(ValueError, match="anchor"):
        rate([])
    with pytest.raises(ValueError, match=r"score: 1, 0.5 or 0 .got 0.7"):
        rate([GameScore("a", "random", 0.7)])


def test_players_who_only_drew_are_equal_with_a_wide_interval() -> None:
    table = rate(both_seats("a", "random", 0, 5, 0))
    low, high = line(table, "a").interval
    assert line(table, "a").elo == pytest.approx(0, abs=1e-6)
    assert low < -50 < 50 < high
