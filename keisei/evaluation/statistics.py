"""Statistics of a match: score intervals, Elo differences and likelihood of superiority.

This module and ``sprt`` use the same likelihood: the likelihood of the results of pairs. A pair has
0, 1/2, 1, 3/2 or 2 points. The model (*pentanomial*) allows any distribution over these five
values. The unit is the pair, not the game, because the two games of a pair share an opening. If the
two results in a pair tend to agree, the score interval is wider than for independent games. If the
two results tend to cancel each other, the interval is narrower than for independent games.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""Quantile 0.975 of the standard normal distribution."""

PAIR_POINTS = np.arange(5) / 2
"""Possible points of a pair of games: 0, 1/2, 1, 3/2, 2."""

_TINY = 1e-300
_EDGE = 1e-12  # at a score of exactly 0 or 1 the likelihood would be 0

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Strength:
    """Strength of a match's first player. Infinite Elo is None, because JSON has no infinity."""

    games: int
    pairs: int
    """Number of complete pairs."""
    pentanomial: tuple[int, int, int, int, int]
    """Numbers of complete pairs with 0, 1/2, 1, 3/2 and 2 points."""
    score: float
    """Points per game. Games of incomplete pairs count too."""
    interval: tuple[float, float]
    """95 % confidence interval of the score."""
    elo: float | None
    """Logistic Elo difference; None (infinite) if all games were won or all games were lost."""
    elo_interval: tuple[float | None, float | None]
    """95 % confidence interval of the Elo difference. A bound is None if it is infinite."""
    superiority: float
    """Likelihood, 0 to 1, that the first player is stronger than the second player."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        fields = asdict(self)
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()
        }


def strength(points: Floats, pair: NDArray[np.integer[Any]]) -> Strength:
    """Return all statistics of a match, which must have at least one game.

    ``score_interval`` describes the arguments.

    Raises ValueError if a pair has more than two games.
    """
    count = pentanomial(points, pair)
    low, high = score_interval(points, pair)
    score = float(points.mean())
    return Strength(
        games=len(points),
        pairs=sum(count),
        pentanomial=count,
        score=score,
        interval=(low, high),
        elo=elo(score),
        elo_interval=(elo(low), elo(high)),
        superiority=superiority(points, pair),
    )


def pentanomial(points: Floats, pair: NDArray[np.integer[Any]]) -> tuple[int, int, int, int, int]:
    """Return the numbers of complete pairs with 0, 1/2, 1, 3/2 and 2 points.

    ``score_interval`` describes the arguments.

    Raises ValueError if a pair has more than two games.
    """
    total, games = _pairs(points, pair)
    if (games > 2).any():
        raise ValueError(f"pair: at most 2 games in each pair (got {int(games.max())})")
    ll, ld, even, dw, ww = np.bincount((2 * total[games == 2]).astype(np.int64), minlength=5)
    return int(ll), int(ld), int(even), int(dw), int(ww)


def elo(score: float) -> float | None:
    """Return the logistic Elo difference for a score; None (infinite) for the scores 0 and 1."""
    return -400 * math.log10(1 / score - 1) if 0 < score < 1 else None


def score_interval(
    points: Floats, pair: NDArray[np.integer[Any]], z: float = Z95
) -> tuple[float, float]:
    """Return the confidence interval of a mean score, 95 % by default.

    The interval contains the scores that a likelihood-ratio test does not reject. These are the
    scores with ``likelihood_drop`` <= t^2 / 2 (A. B. Owen 1988, Biometrika 75:237). Here t is
    Student's quantile with as many degrees of freedom as there are pairs. The value of t is
    computed from ``z`` by the first term of an expansion (Abramowitz and Stegun 26.7.5). With ``z``
    in place of t, the interval of a match with ten pairs would be too short. Even if one player
    wins all games, the width of the interval is above 0.

    Args:
        points: [G], points in each of the G >= 1 games: 1 for a win, 1/2 for a draw, 0 for a loss.
        pair: [G], number of the pair that each game belongs to.
        z: quantile of the normal distribution, which sets the confidence level.
    """
    total, games = _pairs(points, pair)
    (total, games), count = np.unique([total, games], axis=1, return_counts=True)
    limit = (z + (z**3 + z) / (4 * count.sum())) ** 2 / 2
    far, near = np.array([0.0, 1.0]), np.full(2, points.mean())
    for _ in range(4):  # each pass divides the error of the bounds by 64
        grid = np.linspace(far, near, 65)
        at = np.argmax(likelihood_drop(count, total, games, grid[1:]) <= limit, 0)
        far, near = grid[at, [0, 1]], grid[at + 1, [0, 1]]
    return float(near[0]), float(near[1])


def superiority(points: Floats, pair: NDArray[np.integer[Any]]) -> float:
    """Return the likelihood, 0 to 1, that the true score is above 1/2.

    ``score_interval`` describes the arguments, and the relation between t and z. Here t^2 / 2 is
    the ``likelihood_drop`` at the score 1/2, and z has the sign of the mean score minus 1/2. The
    result is Phi(z), where Phi is the normal distribution function. Therefore the result exceeds
    0.975 exactly if the 95 % interval lies above 1/2.
    """
    total, games = _pairs(points, pair)
    drop = float(likelihood_drop(np.ones_like(total), total, games, np.array(0.5)))
    t, n = math.sqrt(2 * drop), 4 * len(total)
    # Solve t = z + (z^3 + z) / n, the expansion in score_interval, for z. Only one root is real.
    root = math.sqrt((n + 1) / 3)
    z = 2 * root * math.sinh(math.asinh(n * t / (2 * root**3)) / 3)
    return 0.5 * (1 + math.erf(math.copysign(z, points.mean() - 0.5) / math.sqrt(2)))


def likelihood_drop(
    count: NDArray[Any], points: Floats, games: NDArray[Any], score: Floats
) -> Floats:
    """Return how much the log-likelihood falls if the true score is ``score``: [...], >= 0.

    The drop is the difference of two maxima of the log-likelihood. The first maximum is over all
    distributions of a pair's points. The second maximum is over the distributions whose mean is
    ``score``. By duality the drop is the maximum over b of
    sum(count * log(1 + b * (points - games * score))). The range of b is limited: the argument of
    the logarithm must not be negative for any possible result (Owen, Empirical Likelihood, 2001,
    section 2.9). This condition includes results that did not occur. If b is at an end of its
    range, the distribution of the second maximum gives weight to pairs with no points or with all
    points. This distribution does so even if no such pair was played. Therefore results that did
    not occur need no pseudo-counts, and a single pair is weak evidence.

    Args:
        count: [..., K], number of pairs with each of K possible results; 0 is allowed.
        points: [K], points of a pair with each result.
        games: [K], number of games of a pair with each result.
        score: [...], the assumed points per game, 0 to 1.
    """
    score = np.clip(score, _EDGE, 1 - _EDGE)
    off = points - games * score[..., None]
    up = (count * off).sum(-1) > 0
    most = games.max()
    end = np.where(up, 1 / (most * score), -1 / (most * (1 - score)))
    pull = off * end[..., None]
    share = _largest(count, pull)
    drop = (count * np.log(_room(count, pull, share))).sum(-1)
    return np.asarray(np.maximum(drop, 0.0))  # rounding can make the drop slightly negative


def _largest(count: NDArray[Any], pull: Floats) -> Floats:
    """Return the x from 0 to 1 that maximises sum(count * log(1 + x * pull)): [...].

    The slope falls as x grows, and bisection finds the x where the slope is 0. Newton's method
    would fail: near the pole at x = 1, its steps become tiny far from the maximum.
    """
    low = np.zeros(np.broadcast_shapes(count.shape, pull.shape)[:-1])
    high = low + 2  # so that the first midpoint is exactly 1
    for _ in range(60):
        share = np.minimum((low + high) / 2, 1)
        rises = (count * pull / _room(count, pull, share)).sum(-1) >= 0
        low, high = np.where(rises, share, low), np.where(rises, high, share)
    return np.minimum(low, 1)


def _room(count: NDArray[Any], pull: Floats, share: Floats) -> Floats:
    """Return max(1 + share * pull, _TINY) to avoid log(0), but 1 where the count is 0."""
    return np.where(count > 0, np.maximum(1 + share[..., None] * pull, _TINY), 1.0)


def _pairs(points: Floats, pair: NDArray[np.integer[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the points [P] and the number of games [P] of each of the P pairs."""
    _, row = np.unique(pair, return_inverse=True)
    return np.bincount(row, points), np.bincount(row).astype(np.float64)
