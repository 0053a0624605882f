"""A match as its games end: its score, its sequential test and the games kept before."""

from typing import Any

import numpy as np
import pytest

from keisei.evaluation import MatchSpec, PlayedGame
from keisei.evaluation.sprt import Sprt
from keisei.play.standing import Contestant, MatchStanding, total_score


def game(number: int, points: float) -> PlayedGame:
    agent, other = ("white", "black") if number % 2 else ("black", "white")
    result: Any = {1.0: agent, 0.5: "draw", 0.0: other}[points]
    none = np.empty(0)
    return PlayedGame(
        number, result, "", "startpos", none.astype(np.int16), none.astype(np.float32)
    )


def match(games: int, first: int = 0) -> MatchStanding:
    agent, opponent = Contestant("a", "random"), Contestant("b", "random")
    return MatchStanding(agent, opponent, MatchSpec("random", agent="random", games=games), first)


def test_the_sequential_test_counts_each_pair_once_and_agrees_with_a_test_of_all_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[int] = []
    llr = Sprt.llr

    def counted(self: Sprt, pentanomial: Any) -> Any:
        looked.append(np.asarray(pentanomial).reshape(-1, 5).shape[0])
        return llr(self, pentanomial)

    monkeypatch.setattr(Sprt, "llr", counted)
    rng = np.random.default_rng(1)
    points = rng.choice([0.0, 0.5, 1.0], 3000, p=[0.23, 0.5, 0.27])
    ends = np.argsort(np.arange(3000) + rng.uniform(0, 30, 3000))  # nearly in their order
    played, sprt = match(3000), Sprt(0, 20)
    for some in ends.reshape(-1, 10).tolist():
        played.add(game(number, points[number]) for number in some)
        played.advance_test(sprt)
    pairs = (2 * points.reshape(-1, 2).sum(1)).astype(int)
    counts = np.eye(5, dtype=int)[pairs].cumsum(0)
    ratio = llr(sprt, counts)
    lower, upper = sprt.bounds
    first = int(np.flatnonzero((ratio <= lower) | (ratio >= upper))[0])
    assert played.test is not None
    assert played.test["decision"] == "accept"
    assert 300 < played.test["pairs"] == first + 1 < 1500
    assert played.test["llr"] == pytest.approx(float(ratio[first]))
    assert len(played.counted()) == 2 * (first + 1)
    assert sum(looked) < first + 30 + 2 * 300, "each pair once, and the last of each look twice"
    score, _, complete = total_score([played])
    assert (complete, score) == (first + 1, points[: 2 * (first + 1)].mean())


def test_the_total_score_counts_the_first_agents_games_in_all_its_matches() -> None:
    one, other = match(4), match(4, first=4)
    other.agent = one.agent
    one.add([game(0, 1.0), game(1, 0.5), game(2, 0.0)])
    assert total_score([one, other])[::2] == (0.5, 1)
    other.add([game(0, 1.0), game(1, 1.0)])
    assert total_score([one, other])[::2] == (0.7, 2)
    assert total_score([match(2)]) == (None, None, 0)


def test_the_total_score_leaves_out_matches_between_other_players() -> None:
    one, other = match(2), match(2, first=2)
    one.add([game(0, 1.0), game(1, 0.5)])
    other.add([game(0, 0.0), game(1, 0.0)])
    assert other.agent is not one.agent
    assert total_score([one, other]) == total_score([one])
    assert total_score([one, other])[::2] == (0.75, 1)
