"""The interval of a score."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keisei.evaluation import score_interval


def of_pairs(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return score_interval(np.array(pairs).ravel(), np.arange(len(pairs)).repeat(2))


def wilson(mean: float, games: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """As on any page about it."""
    root = z * math.sqrt(mean * (1 - mean) / games + z * z / (4 * games * games))
    low, high = (mean + z * z / (2 * games) + sign * root for sign in (-1, 1))
    return low / (1 + z * z / games), high / (1 + z * z / games)


def test_all_won_is_wilsons_bound_for_that_many_games() -> None:
    assert of_pairs([(1, 1)] * 100) == pytest.approx((0.98115, 1.0), abs=1e-5)


def test_pairs_decided_by_their_opening_count_as_one_game() -> None:
    found = of_pairs([(1, 1)] * 50 + [(0, 0)] * 50)
    assert found == pytest.approx(wilson(0.5, 99))


def test_openings_that_cancel_count_as_all_the_games_but_no_more() -> None:
    assert of_pairs([(1, 0)] * 100) == pytest.approx(wilson(0.5, 200))
    assert of_pairs([(0.5, 0.5)] * 100) == pytest.approx(wilson(0.5, 200))
    assert of_pairs([(0.5, 0.5)] * 98 + [(1, 1)] * 2) == pytest.approx(wilson(0.51, 200))


@given(
    st.lists(st.tuples(st.sampled_from([0, 0.5, 1]), st.integers(0, 10)), min_size=1, max_size=40)
)
def test_it_holds_the_score(games: list[tuple[float, int]]) -> None:
    points, pair = (np.array(column) for column in zip(*games, strict=True))
    low, high = score_interval(points, pair)
    assert 0 <= low <= points.mean() <= high <= 1
    assert low < high


@pytest.mark.parametrize("opening", [0.0, 0.6])
@pytest.mark.parametrize("strength", [0.55, 0.9])
def test_it_covers_the_truth_19_times_in_20(opening: float, strength: float) -> None:
    """``opening``: share of pairs in which the opening alone decides both games."""
    rng = np.random.default_rng(1)
    covered = 0
    pair = np.arange(100).repeat(2)
    for _ in range(2000):
        games: Any = rng.random((100, 2)) < strength
        games[:, 1] = np.where(rng.random(100) < opening, games[:, 0], games[:, 1])
        low, high = score_interval(games.ravel().astype(float), pair)
        covered += low <= strength <= high
    assert 0.93 <= covered / 2000 <= 0.975
