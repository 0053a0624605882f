"""The sequential test, checked by hand and by simulation."""

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from keisei.evaluation.sprt import Sprt, expected_score

RUNS = 1000


def chances(score: float, *, opening: float = 0.0, cancel: float = 0.0, draws: float = 0.0) -> Any:
    """Probabilities of a pair's 0 to 2 points at this score a game.

    ``opening``: share of pairs in which the opening decides both games the same way; ``cancel``:
    share in which black wins both, one game each; ``draws``: share of drawn games.
    """
    game = np.array([1 - score - draws / 2, draws, score - draws / 2])
    same = np.array([game[0], 0, game[1], 0, game[2]])
    even = np.array([0, 0, 1, 0, 0])
    left = (score - cancel / 2) / (1 - cancel)  # of the other pairs, so that the mean stays
    rest = np.array([1 - left - draws / 2, draws, left - draws / 2])
    return (1 - opening - cancel) * np.convolve(rest, rest) + opening * same + cancel * even


def deviation(chance: NDArray[Any]) -> float:
    values = np.arange(5) / 4
    return math.sqrt(chance @ (values - chance @ values) ** 2)


def forecast(test: Sprt, score: float, deviation: float) -> tuple[float, float]:
    """Probability of acceptance and expected number of pairs, by theory.

    The ratio is taken for a Brownian motion (Van den Bergh, equation 2.1): with s0, s1 the scores
    of the hypotheses and v = deviation^2, a pair adds (s1 - s0)(score - (s0 + s1) / 2) / v on
    average, with variance (s1 - s0)^2 / v. Probability and time to leave the bounds are Wald's; the
    bounds lie 0.583 deviations of a step farther out, because the last step overshoots (D.
    Siegmund, Sequential Analysis, 1985, chapter X).

    Args:
        score: the player's true score a game, 0 to 1.
        deviation: standard deviation of the mean score of a pair; at most 0.5. Of two
            independent games without draws it is sqrt(score * (1 - score) / 2).
    """
    s0, s1 = expected_score(test.elo0), expected_score(test.elo1)
    step = (s1 - s0) / deviation
    lower, upper = (b + math.copysign(0.583 * step, b) for b in test.bounds)
    drift = step * (score - (s0 + s1) / 2) / deviation
    slant = 2 * drift / step**2
    if abs(slant) < 1e-6:
        return -lower / (upper - lower), -lower * upper / step**2
    accept = math.expm1(-slant * lower) / (math.exp(-slant * lower) - math.exp(-slant * upper))
    return accept, (accept * upper + (1 - accept) * lower) / drift


def play(test: Sprt, chance: NDArray[Any], seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Accepted [RUNS] and pairs played [RUNS] of matches that stop at their first decision."""
    rng = np.random.default_rng(seed)
    lower, upper = test.bounds
    accepted, pairs = np.zeros(RUNS, np.bool_), np.zeros(RUNS, np.int64)
    playing, count = np.arange(RUNS), np.zeros((RUNS, 5), np.int64)
    while len(playing):
        drawn = rng.choice(5, (len(playing), 20), p=chance)
        seen = count[:, None] + np.eye(5, dtype=np.int64)[drawn].cumsum(1)
        llr = test.llr(seen)
        out = (llr <= lower) | (llr >= upper)
        first, over = out.argmax(1), out.any(1)
        accepted[playing[over]] = llr[over, first[over]] >= upper
        pairs[playing] += np.where(over, first + 1, 20)
        playing, count = playing[~over], seen[~over, -1]
    return accepted, pairs


def within(errors: int, share: float) -> bool:
    """Whether ``errors`` of RUNS lie in the binomial's central 95 %."""
    return abs(errors - RUNS * share) <= 1.96 * math.sqrt(RUNS * share * (1 - share))


KINDS = {
    "independent games": {},
    "openings decide": {"opening": 0.6},
    "openings cancel": {"cancel": 0.4},
    "draws": {"draws": 0.4},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_60_per_cent_player_is_found_in_the_games_that_theory_predicts(kind: str) -> None:
    test, chance = Sprt(0, 50), chances(0.6, **KINDS[kind])
    assert chance @ np.arange(5) / 4 == pytest.approx(0.6)
    power, expected = forecast(test, 0.6, deviation(chance))
    accepted, pairs = play(test, chance, seed=1)
    print(f"\n{kind}: {accepted.mean():.3f} accepted ({power:.3f} by theory) in "
          f"{2 * pairs.mean():.1f} games ({2 * expected:.1f})")  # fmt: skip
    assert accepted.mean() > 0.98
    assert pairs.mean() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("elo", [0, 50])
@pytest.mark.parametrize("kind", KINDS)
def test_error_rates_are_alpha_and_beta(kind: str, elo: float) -> None:
    test, chance = Sprt(0, 50), chances(expected_score(elo), **KINDS[kind])
    accepted, pairs = play(test, chance, seed=2)
    errors = int(accepted.sum() if elo == 0 else RUNS - accepted.sum())
    power, expected = forecast(test, expected_score(elo), deviation(chance))
    print(f"\n{kind}, {elo} Elo: {errors} errors of {RUNS} in {2 * pairs.mean():.1f} games "
          f"(theory: {1000 * (power if elo == 0 else 1 - power):.1f} in {2 * expected:.1f})")  # fmt: skip
    assert within(errors, 0.05)
    assert pairs.mean() == pytest.approx(expected, rel=0.1)


def best(count: NDArray[Any], score: float) -> NDArray[Any]:
    """The likeliest distribution with this score, where every cell is filled: by bisection."""
    off = np.arange(5) / 4 - score
    share = count / count.sum()
    low, high = -1 / (1 - score), 1 / score
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if share @ (off / (1 + middle * off)) > 0 else (low, middle)
    found: NDArray[Any] = share / (1 + low * off)
    return found


@pytest.mark.parametrize(
    "count", [[1, 2, 3, 2, 2], [10, 20, 30, 25, 15], [39, 2226, 31451, 2412, 40]]
)
def test_the_ratio_is_that_of_the_likeliest_distributions(count: list[int]) -> None:
    counts = np.array(count)
    at0, at1 = best(counts, expected_score(-3)), best(counts, expected_score(12))
    assert at1 @ np.arange(5) / 4 == pytest.approx(expected_score(12))
    assert Sprt(-3, 12).llr(count) == pytest.approx(counts @ np.log(at1 / at0), rel=1e-7)


def test_the_ratio_is_near_the_normal_one_after_many_pairs() -> None:
    """Van den Bergh's equation 2.1."""
    count, s0, s1 = (
        np.array([10789, 19328, 33806, 19402, 10543]),
        expected_score(-3),
        expected_score(1),
    )
    values = np.arange(5) / 4
    mean = count @ values / count.sum()
    variance = count @ (values - mean) ** 2 / count.sum()
    normal = count.sum() * (s1 - s0) * (2 * mean - s0 - s1) / (2 * variance)
    assert Sprt(-3, 1).llr(count) == pytest.approx(normal, rel=1e-3)


def test_a_few_pairs_move_little_and_empty_cells_are_no_evidence() -> None:
    test = Sprt(0, 50)
    assert test.llr([0, 0, 0, 0, 0]) == 0
    assert test.llr([0, 0, 0, 0, 1]) == pytest.approx(math.log(expected_score(50) / 0.5))
    assert test.llr([1, 0, 0, 0, 0]) == pytest.approx(math.log((1 - expected_score(50)) / 0.5))
    assert test.decision([0, 0, 0, 0, 5]) is None


def test_self_against_self_is_rejected_and_a_winner_accepted() -> None:
    test = Sprt(0, 50)
    assert test.bounds == pytest.approx((-math.log(19), math.log(19)))
    assert test.decision([0, 0, 40, 0, 0]) == "reject"
    assert test.decision([0, 0, 2, 0, 30]) == "accept"
    assert test.decision([0, 0, 2, 2, 1]) is None


def test_the_state_of_a_test_becomes_json() -> None:
    found = json.loads(json.dumps(Sprt.parse("0, 20").to_dict([0, 0, 40, 0, 200])))
    assert found.pop("llr") > 2.94
    assert found.pop("bounds") == [pytest.approx(-2.944, abs=1e-3), pytest.approx(2.944, abs=1e-3)]
    assert found == {"elo0": 0, "elo1": 20, "alpha": 0.05, "beta": 0.05, "decision": "accept"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "two numbers"), ("0,20,30", "two numbers"), ("", "two numbers"),
        ("a,20", "elo0: a number"), ("0,", "elo1: a number"), ("0,nan", "elo1: -2000 to 2000"),
        ("-inf,0", "elo0: -2000 to 2000"), ("20,0", "elo1: above elo0, 20"), ("5,5", "elo1: above"),
    ],
)  # fmt: skip
def test_a_wrong_text_is_refused_with_the_bound_that_it_breaks(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sprt.parse(text)


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_error_rates_are_between_0_and_a_half(name: str) -> None:
    for value in (0, 0.5, -1, math.nan):
        with pytest.raises(ValueError, match=f"{name}: between 0 and 0.5"):
            Sprt(0, 20, **{name: value})


def test_the_forecast_between_the_hypotheses_is_even_and_the_longest() -> None:
    test = Sprt(0, 50)
    middle = (0.5 + expected_score(50)) / 2
    even, longest = forecast(test, middle, 0.35)
    assert even == pytest.approx(0.5)
    assert forecast(test, middle + 1e-5, 0.35) == pytest.approx((0.5, longest), rel=1e-3)
    assert longest > forecast(test, 0.5, 0.35)[1]
