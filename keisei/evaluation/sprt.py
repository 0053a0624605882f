"""Sequential test of strength: a match stops as soon as its pairs decide the test."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keisei.evaluation.statistics import PAIR_POINTS, likelihood_drop

_FARTHEST = 2000.0


@dataclass(frozen=True, slots=True)
class Sprt:
    """Generalised sequential probability ratio test of H0 (``elo0``) against H1 (``elo1``).

    After each pair, the log-likelihood ratio of the two hypotheses is compared with two bounds (A.
    Wald, Sequential Analysis, 1947). A hypothesis fixes only the expected score, and
    many distributions of pair results have this score. The likelihood of the hypothesis is the
    largest likelihood among these distributions (M. Van den Bergh, A Practical Introduction to the
    GSPRT, 2017; fishtest uses the method). Results that did not occur need no pseudo-counts,
    and a few pairs change the ratio only a little. ``statistics.likelihood_drop`` explains both.

    The caller must stop at the first decision, because more pairs could move the ratio back between
    the bounds. A wrong field raises a ValueError that names the field, its bounds and its value.
    """

    elo0: float
    """Logistic Elo difference under H0."""
    elo1: float
    """Logistic Elo difference under H1, which must be above ``elo0``."""
    alpha: float = 0.05
    """Probability of accepting a player whose Elo difference is elo0."""
    beta: float = 0.05
    """Probability of rejecting a player whose Elo difference is elo1."""

    def __post_init__(self) -> None:
        for name in ("elo0", "elo1"):
            if not abs(value := getattr(self, name)) <= _FARTHEST:  # `not <=` refuses NaN, too
                raise ValueError(f"{name}: -{_FARTHEST:g} to {_FARTHEST:g} (got {value})")
        if self.elo1 <= self.elo0:
            raise ValueError(f"elo1: above elo0, {self.elo0:g} (got {self.elo1:g})")
        for name in ("alpha", "beta"):
            if not 0 < (value := getattr(self, name)) < 0.5:
                raise ValueError(f"{name}: between 0 and 0.5 (got {value})")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``elo0,elo1``, for example ``0,20``. Raises ValueError if the text is wrong."""
        parts = text.split(",")
        if len(parts) != 2:
            raise ValueError(f"two numbers with a comma, for example 0,20 (got {text!r})")
        values = []
        for name, part in zip(("elo0", "elo1"), parts, strict=True):
            try:
                values.append(float(part))
            except ValueError:
                raise ValueError(f"{name}: a number (got {part!r})") from None
        return cls(*values)

    @property
    def bounds(self) -> tuple[float, float]:
        """Wald's bounds: H1 is rejected at the lower bound, and accepted at the upper bound."""
        return (
            math.log(self.beta / (1 - self.alpha)),
            math.log((1 - self.beta) / self.alpha),
        )

    def llr(self, pentanomial: ArrayLike) -> NDArray[np.floating[Any]]:
        """Return the log-likelihood ratio of H1 to H0 for each row of ``pentanomial``: [...].

        Args:
            pentanomial: [..., 5], numbers of pairs with 0, 1/2, 1, 3/2 and 2 points.
        """
        count, two = np.asarray(pentanomial), np.full(5, 2)
        at0, at1 = (
            likelihood_drop(count, PAIR_POINTS, two, np.array(expected_score(elo)))
            for elo in (self.elo0, self.elo1)
        )
        return at0 - at1

    def decision(self, pentanomial: ArrayLike) -> Literal["accept", "reject"] | None:
        """Return ``accept`` (H1 is accepted), ``reject`` (H1 is rejected) or None (no decision).

        Args:
            pentanomial: [5], numbers of pairs as in ``llr``.
        """
        lower, upper = self.bounds
        llr = float(self.llr(pentanomial))
        return "accept" if llr >= upper else "reject" if llr <= lower else None

    def to_dict(self, pentanomial: ArrayLike) -> dict[str, Any]:
        """Return fields, bounds, log-likelihood ratio and decision, as a dict for JSON."""
        return {
            **asdict(self),
            "bounds": list(self.bounds),
            "llr": float(self.llr(pentanomial)),
            "decision": self.decision(pentanomial),
        }


def expected_score(elo: float) -> float:
    """Return the score, 0 to 1, that a logistic Elo difference predicts."""
    return 1 / (1 + 10 ** (-elo / 400))
