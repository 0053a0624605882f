"""Sequential test of a strength: stop a match as soon as its pairs have decided it."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keisei.evaluation.statistics import PAIR_POINTS, likelihood_drop

_FARTHEST = 2000.0


@dataclass(frozen=True, slots=True)
class Sprt:
    """Generalised sequential probability ratio test of H1, stronger by ``elo1``, against ``elo0``.

    After each pair the log-likelihood ratio of the two hypotheses is compared with two bounds (A.
    Wald, Sequential Analysis, 1947). A hypothesis fixes the score only; the likelihood is that of
    the best distribution of pair results with that score (M. Van den Bergh, A Practical
    Introduction to the GSPRT, 2017; in use at fishtest). Cells without a pair need no made-up counts, and
    a few pairs move little, see ``statistics.likelihood_drop``.

    The caller stops at the first decision: the ratio may come back between the bounds later.
    Raises ValueError naming the field, its bounds and the value.
    """

    elo0: float
    """Logistic Elo difference of H0."""
    elo1: float
    """Of H1, above elo0."""
    alpha: float = 0.05
    """Probability of accepting a player whose difference is elo0."""
    beta: float = 0.05
    """Probability of rejecting a player whose difference is elo1."""

    def __post_init__(self) -> None:
        for name in ("elo0", "elo1"):
            if not abs(value := getattr(self, name)) <= _FARTHEST:  # NaN too
                raise ValueError(f"{name}: -{_FARTHEST:g} to {_FARTHEST:g} (got {value})")
        if self.elo1 <= self.elo0:
            raise ValueError(f"elo1: above elo0, {self.elo0:g} (got {self.elo1:g})")
        for name in ("alpha", "beta"):
            if not 0 < (value := getattr(self, name)) < 0.5:
                raise ValueError(f"{name}: between 0 and 0.5 (got {value})")

    @classmethod
    def parse(cls, text: str) -> Self:
        """``elo0,elo1`` such as ``0,20``. Raises ValueError naming what is wrong."""
        parts = text.split(",")
        if len(parts) != 2:
            raise ValueError(f"two numbers, elo0,elo1, such as 0,20 (got {text!r})")
        values = []
        for name, part in zip(("elo0", "elo1"), parts, strict=True):
            try:
                values.append(float(part))
            except ValueError:
                raise ValueError(f"{name}: a number (got {part!r})") from None
        return cls(*values)

    @property
    def bounds(self) -> tuple[float, float]:
        """Log-likelihood ratios at which H1 is rejected and accepted: Wald's."""
        return (
            math.log(self.beta / (1 - self.alpha)),
            math.log((1 - self.beta) / self.alpha),
        )

    def llr(self, pentanomial: ArrayLike) -> NDArray[np.floating[Any]]:
        """Log-likelihood ratio of elo1 to elo0: [...], for counts of pairs [..., 5]."""
        count, two = np.asarray(pentanomial), np.full(5, 2)
        at0, at1 = (
            likelihood_drop(count, PAIR_POINTS, two, np.array(expected_score(elo)))
            for elo in (self.elo0, self.elo1)
        )
        return at0 - at1

    def decision(self, pentanomial: ArrayLike) -> Literal["accept", "reject"] | None:
        """``accept`` H1, ``reject`` it (H0 stands), or None: play on. For counts of pairs [5]."""
        lower, upper = self.bounds
        llr = float(self.llr(pentanomial))
        return "accept" if llr >= upper else "reject" if llr <= lower else None

    def forecast(self, score: float, deviation: float) -> tuple[float, float]:
        """Probability of acceptance and expected number of pairs, by theory.

        The ratio as a Brownian motion (Van den Bergh, as above, equation 2.1): with s0, s1 the scores
        of the hypotheses and v = deviation^2, a pair adds (s1 - s0)(score - (s0 + s1) / 2) / v on
        average, with variance (s1 - s0)^2 / v. Probability and time to leave the bounds are Wald's;
        the bounds lie 0.583 deviations of a step farther out, because the last step overshoots (D.
        Siegmund, Sequential Analysis, 1985, chapter X).

        Args:
            score: the player's true score a game, 0 to 1.
            deviation: standard deviation of the mean score of a pair; at most 0.5. Of two
                independent games without draws it is sqrt(score * (1 - score) / 2).
        """
        s0, s1 = expected_score(self.elo0), expected_score(self.elo1)
        step = (s1 - s0) / deviation
        lower, upper = (b + math.copysign(0.583 * step, b) for b in self.bounds)
        drift = step * (score - (s0 + s1) / 2) / deviation
        slant = 2 * drift / step**2
        if abs(slant) < 1e-6:
            return -lower / (upper - lower), -lower * upper / step**2
        accept = math.expm1(-slant * lower) / (math.exp(-slant * lower) - math.exp(-slant * upper))
        return accept, (accept * upper + (1 - accept) * lower) / drift

    def to_dict(self, pentanomial: ArrayLike) -> dict[str, Any]:
        """Hypotheses, bounds, llr and decision after these pairs [5]; for JSON."""
        return {
            **asdict(self),
            "bounds": list(self.bounds),
            "llr": float(self.llr(pentanomial)),
            "decision": self.decision(pentanomial),
        }


def expected_score(elo: float) -> float:
    """Score that a logistic Elo difference predicts."""
    return 1 / (1 + 10 ** (-elo / 400))
