"""What the scores of a match say about the players.

Everything here and in ``sprt`` rests on one likelihood: that of the results of the pairs, which may
have any distribution over their five values (0 to 2 points; *pentanomial*). Games of a pair share
an opening, so the pair is the unit: what an opening decides, or what cancels between its two games,
widens or narrows an interval by itself.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""Quantile .975 of the normal distribution."""

PAIR_POINTS = np.arange(5) / 2
"""Points of a pair of games: 0, 1/2, 1, 3/2, 2."""

_TINY = 1e-300
_EDGE = 1e-12  # a likelihood at a score of exactly 0 or 1 is infinitely small

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Strength:
    """What a match says of the first player. ``to_dict`` is for JSON, which has no infinity."""

    games: int
    pairs: int
    """Complete ones."""
    pentanomial: tuple[int, int, int, int, int]
    """Complete pairs of 0, 1/2, 1, 3/2 and 2 points."""
    score: float
    """Points a game, those of incomplete pairs too."""
    interval: tuple[float, float]
    """Of the score, 95 %."""
    elo: float | None
    """Logistic Elo difference. None: infinite, every game was won or every game was lost."""
    elo_interval: tuple[float | None, float | None]
    """95 %; None: no bound on that side."""
    superiority: float
    """Likelihood that the first player is the stronger one, 0 to 1."""

    def to_dict(self) -> dict[str, Any]:
        """As lists and numbers."""
        found = asdict(self)
        return {key: list(it) if isinstance(it, tuple) else it for key, it in found.items()}


def strength(points: Floats, pair: NDArray[np.integer[Any]]) -> Strength:
    """Sum up a match of one game or more; arguments as ``score_interval``'s.

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
    """How many pairs made 0, 1/2, 1, 3/2 and 2 points; those with one game played are left out.

    Raises ValueError if a pair has more than two games.
    """
    total, games = _pairs(points, pair)
    if (games > 2).any():
        raise ValueError(f"a pair of {int(games.max())} games")
    ll, ld, even, dw, ww = np.bincount((2 * total[games == 2]).astype(np.int64), minlength=5)
    return int(ll), int(ld), int(even), int(dw), int(ww)


def elo(score: float) -> float | None:
    """Logistic Elo difference of a score; None at 0 and 1, where it is infinite."""
    return -400 * math.log10(1 / score - 1) if 0 < score < 1 else None


def score_interval(
    points: Floats, pair: NDArray[np.integer[Any]], z: float = Z95
) -> tuple[float, float]:
    """Confidence interval of a mean score, by default of 95 %.

    The scores that a likelihood-ratio test does not reject: ``likelihood_drop`` <= t^2 / 2 (A. B.
    Owen 1988, Biometrika 75:237). t is Student's quantile with as many degrees of freedom as there
    are pairs (first term of its expansion, Abramowitz and Stegun 26.7.5): without it the intervals
    of ten pairs are too short. It is never empty: five wins out of five do not prove the sixth.

    Args:
        points: [G], 1 for a win, 1/2 for a draw, 0 for a loss; G >= 1.
        pair: [G], to which pair each game belongs.
        z: quantile of the normal distribution.
    """
    total, games = _pairs(points, pair)
    (total, games), count = np.unique([total, games], axis=1, return_counts=True)
    limit = (z + (z**3 + z) / (4 * count.sum())) ** 2 / 2
    far, near = np.array([0.0, 1.0]), np.full(2, points.mean())
    for _ in range(4):  # each time 64 times nearer
        grid = np.linspace(far, near, 65)
        at = np.argmax(likelihood_drop(count, total, games, grid[1:]) <= limit, 0)
        far, near = grid[at, [0, 1]], grid[at + 1, [0, 1]]
    return float(near[0]), float(near[1])


def superiority(points: Floats, pair: NDArray[np.integer[Any]]) -> float:
    """Likelihood that the true score is above 1/2, 0 to 1; arguments as ``score_interval``'s.

    Phi of the signed root of the likelihood ratio, so that it agrees with the interval: above .975
    exactly where the 95 % interval lies above 1/2.
    """
    total, games = _pairs(points, pair)
    drop = float(likelihood_drop(np.ones_like(total), total, games, np.array(0.5)))
    t, n = math.sqrt(2 * drop), 4 * len(total)
    # z of t = z + (z^3 + z) / n, as in the interval: the real root of a cubic.
    root = math.sqrt((n + 1) / 3)
    z = 2 * root * math.sinh(math.asinh(n * t / (2 * root**3)) / 3)
    return 0.5 * (1 + math.erf(math.copysign(z, points.mean() - 0.5) / math.sqrt(2)))


def likelihood_drop(
    count: NDArray[Any], points: Floats, games: NDArray[Any], score: Floats
) -> Floats:
    """By how much log-likelihood falls when the true score is known to be ``score``: [...], >= 0.

    That of the best distribution of a pair's points with that mean against that of the best one at
    all. By duality it is the maximum over b of sum(count * log(1 + b * (points - games * score))),
    where b may not make a possible result impossible (Owen, Empirical Likelihood, 2001, section
    2.9). At the end of b's range the distribution puts weight on no points or on all of them though
    nobody saw such a pair: so empty cells need no made-up counts, and one pair is no proof.

    Args:
        count: [..., K], pairs (or single games) of each kind; zeros are allowed.
        points: [K], points of each kind.
        games: [K], games of each kind.
        score: [...], points a game, 0 to 1.
    """
    score = np.clip(score, _EDGE, 1 - _EDGE)
    off = points - games * score[..., None]
    up = (count * off).sum(-1) > 0
    most = games.max()
    end = np.where(up, 1 / (most * score), -1 / (most * (1 - score)))
    pull = off * end[..., None]
    share = _largest(count, pull)
    drop = (count * np.log(_room(count, pull, share))).sum(-1)
    return np.asarray(np.maximum(drop, 0.0))  # rounding


def _largest(count: NDArray[Any], pull: Floats) -> Floats:
    """x of 0 to 1 with the largest sum(count * log(1 + x * pull)): [...].

    Bisection of its falling slope. Newton's steps crawl beside the pole at 1, and look as if they
    had arrived.
    """
    low = np.zeros(np.broadcast_shapes(count.shape, pull.shape)[:-1])
    high = low + 2  # so that 1 itself is tried
    for _ in range(60):
        share = np.minimum((low + high) / 2, 1)
        rises = (count * pull / _room(count, pull, share)).sum(-1) >= 0
        low, high = np.where(rises, share, low), np.where(rises, high, share)
    return np.minimum(low, 1)


def _room(count: NDArray[Any], pull: Floats, share: Floats) -> Floats:
    """1 + share * pull, kept above 0; 1 where nothing was counted, so that 0 * log(0) is 0."""
    return np.where(count > 0, np.maximum(1 + share[..., None] * pull, _TINY), 1.0)


def _pairs(points: Floats, pair: NDArray[np.integer[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points and games of each pair: [P], [P]."""
    _, row = np.unique(pair, return_inverse=True)
    return np.bincount(row, points), np.bincount(row).astype(np.float64)
