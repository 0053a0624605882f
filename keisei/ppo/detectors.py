"""Notices when learning goes wrong. Looks at metrics alone and never feeds training."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Values = dict[str, float]
Level = Literal["info", "warning", "error"]

WINDOW = 20
"""Iterations a condition is averaged over. Nothing is said before so many have passed."""
RATIO_TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}
STOP_AFTER = 10
"""Minibatches in a row without a finite loss that end the run."""


class DivergedError(RuntimeError):
    """Training stopped: too many minibatches in a row had a loss or gradient that is not finite."""


class Alert(NamedTuple):
    """Something a person should know."""

    name: str
    level: Level
    message: str


@dataclass(frozen=True, slots=True)
class _Detector:
    """Returns what is wrong, or nothing. ``mean``: averages; ``lowest``: the lowest averages so far."""

    name: str
    level: Level
    look: Callable[[Values, Values], str | None]


def _entropy_collapse(mean: Values, lowest: Values) -> str | None:
    share = mean["train/entropy_ratio"]
    return f"entropy fell to {share:.3f} of its maximum" if share < 0.05 else None


def _entropy_swamp(mean: Values, lowest: Values) -> str | None:
    now, least = mean["train/entropy_ratio"], lowest["train/entropy_ratio"]
    return (
        f"entropy rose from {least:.2f} to {now:.2f} of its maximum" if now > least + 0.25 else None
    )


def _draws(mean: Values, lowest: Values) -> str | None:
    share = mean["games/repetition"]
    return f"{share:.0%} of the games end by repetition" if share > 0.3 else None


def _declarations(mean: Values, lowest: Values) -> str | None:
    share = mean["games/declaration"]
    return f"{share:.0%} of the games end by declaration" if share > 0.7 else None


def _truncation(mean: Values, lowest: Values) -> str | None:
    now, least = mean["games/truncated"], lowest["games/truncated"]
    rising = now > 0.5 and now > least + 0.3
    return f"games cut at the maximum ply rose from {least:.0%} to {now:.0%}" if rising else None


def _value_useless(mean: Values, lowest: Values) -> str | None:
    cross, base = mean["train/value_unseen"], mean["train/value_base_rate"]
    worse = cross > base * 1.02 + 0.01
    return f"value loss {cross:.3f} on new games, {base:.3f} by the base rate" if worse else None


def _variance(mean: Values, lowest: Values) -> str | None:
    # The explained variance of a nearly constant target says nothing.
    share = mean["train/explained_variance"]
    bad = share < 0 and mean["train/return_variance"] > 0.02
    return f"explained variance is {share:.2f}" if bad else None


def _first_mover(mean: Values, lowest: Values) -> str | None:
    black, white = mean["games/black_wins"], mean["games/white_wins"]
    total = black + white
    if total < 50:
        return None
    share, margin = black / total, 3 * math.sqrt(0.25 / total)
    bad = share - margin > 0.60 or share + margin < 0.45
    return f"black wins {share:.0%} of {total:.0f} decisive games" if bad else None


_DETECTORS = (
    _Detector("entropy_collapse", "warning", _entropy_collapse),
    _Detector("entropy_swamp", "warning", _entropy_swamp),
    _Detector("draws", "warning", _draws),
    _Detector("declarations", "info", _declarations),
    _Detector("truncation", "warning", _truncation),
    _Detector("value_useless", "warning", _value_useless),
    _Detector("explained_variance", "warning", _variance),
    _Detector("first_mover", "warning", _first_mover),
)


class Detectors:
    """Looks at each iteration's values and tells each trouble once, when it begins."""

    def __init__(self, dtype: str) -> None:
        self._tolerance = RATIO_TOLERANCE[dtype]
        self._recent: deque[Values] = deque(maxlen=WINDOW)
        self._lowest: Values = {}
        self._raised: set[str] = set()

    def look(self, values: Values) -> list[Alert]:
        """The alerts of one iteration. Raises DivergedError when there is nothing left to save."""
        if values["train/skipped_in_a_row"] >= STOP_AFTER:
            raise DivergedError(
                f"{values['train/skipped_in_a_row']:.0f} minibatches in a row had no finite loss"
            )
        found = self._now(values)
        self._recent.append(values)
        if len(self._recent) == WINDOW:
            found |= self._over_window()
        fresh = [alert for name, alert in found.items() if name not in self._raised]
        self._raised = set(found)
        return fresh

    def _now(self, values: Values) -> dict[str, Alert]:
        found = {}
        if values["train/skipped"]:
            message = (
                f"{values['train/skipped']:.0f} minibatches skipped: loss or gradient not finite"
            )
            found["nonfinite"] = Alert("nonfinite", "error", message)
        error = values["train/ratio_error"]
        if error > self._tolerance:
            message = f"probability ratio is off by {error:.2g} before the first step"
            found["ratio"] = Alert("ratio", "error", message)
        return found

    def _over_window(self) -> dict[str, Alert]:
        mean = {key: _mean([v[key] for v in self._recent if key in v]) for key in self._recent[-1]}
        self._lowest = {k: float(np.fmin(v, self._lowest.get(k, v))) for k, v in mean.items()}
        found = {}
        for detector in _DETECTORS:
            message = detector.look(mean, self._lowest)
            if message:
                found[detector.name] = Alert(detector.name, detector.level, message)
        return found


def _mean(values: list[float]) -> float:
    """Mean of the finite values; NaN if there are none (no comparison with it is true)."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
