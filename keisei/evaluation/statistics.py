"""What the scores of a match say about the players."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""Quantile .975 of the normal distribution."""


def score_interval(
    points: NDArray[np.floating[Any]], pair: NDArray[np.integer[Any]], z: float = Z95
) -> tuple[float, float]:
    """Confidence interval of a mean score, by default of 95 %.

    Wilson's score interval (E. B. Wilson 1927, JASA 22:209) of the mean, with the effective number
    of games of L. Kish (Survey Sampling, 1965): p (1 - p) / v. v is the variance of the mean when
    the two games of a pair, which share an opening, are not independent (ratio estimate over the
    pairs). The number is never taken to be larger than that of the games: five wins out of five
    do not prove the sixth.

    Args:
        points: [G], 1 for a win, 1/2 for a draw, 0 for a loss; G >= 1.
        pair: [G], to which pair each game belongs.
        z: quantile of the normal distribution.
    """
    games = len(points)
    mean = float(points.mean())
    _, row = np.unique(pair, return_inverse=True)
    off = np.bincount(row, points - mean)
    pairs = len(off)
    variance = float((off**2).sum()) / games**2 * (pairs / (pairs - 1) if pairs > 1 else 1.0)
    effective = min(mean * (1 - mean) / variance, games) if variance > 0 else float(games)
    middle = (mean + z * z / (2 * effective)) / (1 + z * z / effective)
    half = (
        z
        / (1 + z * z / effective)
        * math.sqrt(mean * (1 - mean) / effective + (z / (2 * effective)) ** 2)
    )
    # Rounding may push a bound past 0, 1 or the score.
    return min(max(0.0, middle - half), mean), max(min(1.0, middle + half), mean)
