"""Score intervals, Elo and superiority: closed forms, coverage and limits."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from keisei.evaluation import score_interval
from keisei.evaluation.statistics import (
    PAIR_POINTS,
    elo,
    likelihood_drop,
    pentanomial,
    strength,
    superiority,
)

Z = 1.959963984540054
RUNS = {10: 1000, 100: 400}


def games(count: list[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points and pair numbers, for counts of pairs with 0, 1/2, 1, 3/2 and 2 points."""
    kinds = [(0, 0), (0.5, 0), (1, 0), (1, 0.5), (1, 1)]
    points = np.array(kinds).repeat(count, axis=0)
    return points.ravel(), np.arange(len(points)).repeat(2)


def quantile(pairs: int) -> float:
    return Z + (Z**3 + Z) / (4 * pairs)


def test_after_wins_alone_the_lower_bound_has_a_closed_form() -> None:
    """The bound solves score ** pairs = exp(-z * z / 2), which is about 1 in 7."""
    low, high = score_interval(*games([0, 0, 0, 0, 100]))
    assert high == 1
    assert low == pytest.approx(math.exp(-(quantile(100) ** 2) / 200), abs=1e-6)
    assert low == pytest.approx(0.9805, abs=1e-4)


def test_a_few_games_give_a_wide_interval() -> None:
    assert score_interval(*games([0, 0, 0, 0, 1]))[0] < 0.01
    assert score_interval(*games([0, 0, 0, 0, 5]))[0] == pytest.approx(0.553, abs=1e-3)
    low, high = score_interval(*games([0, 0, 5, 0, 0]))
    assert high - low > 0.3


def test_pairs_decided_by_their_opening_count_as_one_game() -> None:
    one_game_each = np.arange(100) % 2.0, np.arange(100)
    assert score_interval(*games([50, 0, 0, 0, 50])) == pytest.approx(
        score_interval(*one_game_each), abs=1e-6
    )


def test_openings_that_cancel_narrow_the_interval() -> None:
    """Pairs other than even may be as frequent as still leaves 100 even pairs likely."""
    seen = 1 - math.exp(-(quantile(100) ** 2) / 200)
    found = score_interval(*games([0, 0, 100, 0, 0]))
    assert found == pytest.approx((0.5 - seen / 2, 0.5 + seen / 2), abs=1e-6)


def test_many_pairs_have_the_normal_interval_of_their_pentanomial_variance() -> None:
    count = np.array([39, 2226, 31451, 2412, 40])  # a long test of two chess engines
    values = np.arange(5) / 4
    mean = count @ values / count.sum()
    error = math.sqrt(count @ (values - mean) ** 2) / count.sum()
    found = score_interval(*games(count.tolist()))
    assert found == pytest.approx((mean - Z * error, mean + Z * error), abs=2e-6)
    assert error < 0.3 * math.sqrt(mean * (1 - mean) / (2 * count.sum()))  # not the binomial one


def test_a_game_whose_pair_is_not_over_counts() -> None:
    points, pair = games([10, 0, 20, 0, 20])
    found = strength(np.append(points, 1.0), np.append(pair, 99))
    assert (found.games, found.pairs, found.pentanomial) == (101, 50, (10, 0, 20, 0, 20))
    assert found.score == pytest.approx(61 / 101)
    before, after = score_interval(points, pair), found.interval
    assert after[0] > before[0]
    assert abs(after[1] - before[1]) < 0.01


@given(
    st.lists(st.tuples(st.sampled_from([0, 0.5, 1]), st.integers(0, 10)), min_size=1, max_size=40)
)
def test_the_interval_holds_the_score_and_agrees_with_the_superiority(
    games: list[tuple[float, int]],
) -> None:
    points, pair = (np.array(column) for column in zip(*games, strict=True))
    low, high = score_interval(points, pair)
    assert 0 <= low <= points.mean() <= high <= 1
    assert low < high
    likely = superiority(points, pair)
    assert (likely > 0.975) == (low > 0.5) or abs(likely - 0.975) < 1e-5
    assert superiority(1 - points, pair) == pytest.approx(1 - likely)


@pytest.mark.parametrize("pairs", [10, 100])
@pytest.mark.parametrize("opening", [0.0, 0.6])
@pytest.mark.parametrize(("score", "draws"), [(0.55, 0.0), (0.55, 0.7), (0.9, 0.0)])
def test_the_interval_covers_the_truth_19_times_in_20(
    pairs: int, opening: float, score: float, draws: float
) -> None:
    """``opening``: share of pairs in which the opening alone decides both games."""
    game = np.array([1 - score - draws / 2, draws, score - draws / 2])
    chance = (1 - opening) * np.convolve(game, game)
    chance[::2] += opening * game
    drawn = np.random.default_rng(1).multinomial(pairs, chance, size=RUNS[pairs])
    counts, times = np.unique(drawn, axis=0, return_counts=True)
    covered = 0
    for count, n in zip(counts.tolist(), times.tolist(), strict=True):
        low, high = score_interval(*games(count))
        covered += n * (low <= score <= high)
    print(
        f"\n{pairs} pairs, opening {opening}, score {score}, draws {draws}: {covered / RUNS[pairs]:.3f}"
    )
    assert 0.93 <= covered / RUNS[pairs] <= (0.999 if pairs == 10 else 0.98)


def test_elo_is_logistic_and_never_infinite() -> None:
    assert elo(0.5) == 0
    assert elo(10 / 11) == pytest.approx(400)
    assert elo(1 / 11) == pytest.approx(-400)
    assert (elo(0), elo(1)) == (None, None)


def test_the_strength_becomes_json() -> None:
    found = json.loads(json.dumps(strength(*games([0, 0, 0, 0, 100])).to_dict(), allow_nan=False))
    assert found.pop("elo_interval") == [pytest.approx(680.8, abs=0.1), None]
    assert found.pop("interval") == [pytest.approx(0.98052, abs=1e-5), 1]
    assert found.pop("superiority") == pytest.approx(1)
    assert found == {
        "games": 200, "pairs": 100, "pentanomial": [0, 0, 0, 0, 100], "score": 1.0, "elo": None,
    }  # fmt: skip


def test_the_superiority_of_many_games_is_that_of_the_normal_distribution() -> None:
    """520 of 1,000 games: 1.265 standard errors above even."""
    points, pair = (np.arange(1000) < 520).astype(float), np.arange(1000)
    z = 20 / math.sqrt(1000 * 0.52 * 0.48)
    assert superiority(points, pair) == pytest.approx(0.5 * (1 + math.erf(z / 2**0.5)), abs=1e-3)
    assert superiority(*games([0, 0, 7, 0, 0])) == 0.5


def test_a_pair_of_three_games_is_refused() -> None:
    with pytest.raises(ValueError, match="got 3"):
        pentanomial(np.ones(3), np.zeros(3, np.int64))


@pytest.mark.parametrize("seed", range(40))
def test_the_likelihood_is_that_of_the_best_distribution(seed: int) -> None:
    """Compares with a search over a grid, which is finest near its ends."""
    rng = np.random.default_rng(seed)
    count = rng.multinomial(int(rng.integers(2, 300)), rng.dirichlet(np.full(5, 0.5)))
    shares = np.concatenate([np.linspace(0, 1, 20_001), 1 - np.logspace(-16, -5, 300)])
    for score in np.linspace(0.02, 0.98, 25):
        off = PAIR_POINTS - 2 * score
        end = 1 / (2 * score) if count @ off > 0 else -1 / (2 * (1 - score))
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(count > 0, count * np.log(1 + shares[:, None] * off * end), 0)
        found = likelihood_drop(count, PAIR_POINTS, np.full(5, 2), np.array(score))
        assert float(found) == pytest.approx(max(0, np.nanmax(terms.sum(1))), rel=2e-3, abs=2e-3)


def test_an_interval_that_newtons_method_got_wrong_is_right() -> None:
    points = np.repeat([0, 0.5, 0.5, 0.5, 1, 0.5, 1, 1], [4, 0, 0, 26, 0, 3, 3, 64])
    pair = np.concatenate([np.repeat(np.arange(15), 2), 15 + np.arange(3), 15 + np.arange(3)])
    pair = np.concatenate([pair, np.repeat(18 + np.arange(32), 2)])
    assert pentanomial(points, pair) == (2, 0, 13, 3, 32)
    assert score_interval(points, pair) == pytest.approx((0.727, 0.883), abs=1e-3)
