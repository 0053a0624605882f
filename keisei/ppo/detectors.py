"""Notices when learning goes wrong, by the metrics alone. What is done about it is in the settings."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from keisei.config import DetectorSettings, Reaction
from keisei.ppo import tally

Values = dict[str, float]
Level = Literal["info", "warning", "error"]

WINDOW = 20
"""Iterations a condition is averaged over. Nothing is said before so many have passed."""
LOOKS_BACK = WINDOW + tally.WINDOW
"""Iterations that an alert may have been long in coming: ``games/*`` are of many iterations themselves."""
ERRORS = ("nonfinite", "ratio")
"""Wrong numbers; the others are about what is learned, and time may mend them."""
RATIO_TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}


class DivergedError(RuntimeError):
    """Training stopped: by a detector, or too many minibatches in a row had no finite loss."""


class Finding(NamedTuple):
    """Something a person should know."""

    name: str
    level: Level
    message: str
    reaction: Reaction = "alert"


@dataclass(frozen=True, slots=True)
class _Detector:
    """Returns what is wrong, or nothing. ``mean``: averages; ``lowest``: the lowest averages so far."""

    name: str
    level: Level
    check: Callable[[Values, Values], str | None]


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

    def __init__(self, dtype: str, settings: DetectorSettings) -> None:
        self._tolerance = RATIO_TOLERANCE[dtype]
        self._settings = settings
        self._recovering = False
        self._forget()

    def reset(self) -> None:
        """Forget everything: the weights are older ones now."""
        self._recovering = True
        self._forget()

    def _forget(self) -> None:
        self._recent: deque[Values] = deque(maxlen=WINDOW)
        self._lowest: Values = {}
        self._raised: set[str] = set()

    @property
    def quiet(self) -> bool:
        """Whether these weights are worth going back to.

        No number is wrong, no trouble is on that asks for more than an alert, and there was time to
        see one since a ``reset``.
        """
        reactions = self._settings.model_dump()
        wrong = {name for name in self._raised if name in ERRORS or reactions[name] != "alert"}
        return not (wrong or self._recovering)

    def check(self, values: Values) -> list[Finding]:
        """The alerts of one iteration. Raises DivergedError when there is nothing left to save."""
        skipped, settings = values["train/skipped_in_a_row"], self._settings
        if skipped >= settings.nonfinite_stop and settings.nonfinite != "rollback":
            raise DivergedError(f"{skipped:.0f} minibatches in a row had no finite loss")
        found = self._now(values)
        seen = {key: value for key, value in values.items() if not key.startswith("speed/")}
        self._recent.append(seen)  # without the clock: a resumed run must be the same
        if len(self._recent) == WINDOW:
            self._recovering = False
            found += self._over_window()
        reactions = settings.model_dump()
        found = [
            alert._replace(reaction=reactions[alert.name])
            for alert in found
            if reactions[alert.name] != "ignore"
        ]
        fresh = [alert for alert in found if alert.name not in self._raised]
        self._raised = {alert.name for alert in found}
        return fresh

    def _now(self, values: Values) -> list[Finding]:
        found = []
        if values["train/skipped"]:
            message = (
                f"{values['train/skipped']:.0f} minibatches skipped: loss or gradient not finite"
            )
            found.append(Finding("nonfinite", "error", message))
        error = values["train/ratio_error"]
        if error > self._tolerance:
            message = f"probability ratio is off by {error:.2g} before the first step"
            found.append(Finding("ratio", "error", message))
        return found

    def _over_window(self) -> list[Finding]:
        mean = {key: _mean([v[key] for v in self._recent if key in v]) for key in self._recent[-1]}
        self._lowest = {k: float(np.fmin(v, self._lowest.get(k, v))) for k, v in mean.items()}
        found = []
        for detector in _DETECTORS:
            message = detector.check(mean, self._lowest)
            if message:
                found.append(Finding(detector.name, detector.level, message))
        return found

    def state(self) -> dict[str, Any]:
        """What ``load_state`` continues from, ready for JSON."""
        return {
            "recent": list(self._recent),
            "lowest": self._lowest,
            "raised": sorted(self._raised),
            "recovering": self._recovering,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self._recent = deque(state["recent"], maxlen=WINDOW)
        self._lowest, self._raised = dict(state["lowest"]), set(state["raised"])
        self._recovering = state.get("recovering", False)


def _mean(values: list[float]) -> float:
    """Mean of the finite values; NaN if there are none (no comparison with it is true)."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
