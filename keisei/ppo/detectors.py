"""Detects problems of learning in the metrics of each iteration."""

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
"""Number of iterations in an average.

After a run's start and after a rollback, there is no average until ``WINDOW`` iterations have been
checked. Until then, only the detectors in ``ERRORS`` work.
"""
LOOKS_BACK = WINDOW + tally.WINDOW
"""Upper limit of the number of newest iterations that affect an average.

The metrics ``games/*`` are averaged twice, once by ``Tally`` and once by ``Detectors``.
"""
ERRORS = ("nonfinite", "ratio")
"""Names of the detectors that find wrong numbers.

The other detectors find problems of learning, which can disappear without a rollback.
"""
RATIO_TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}
"""Largest allowed error of the probability ratio before the optimiser's first step.

The key is the dtype.
"""


class DivergedError(RuntimeError):
    """Training can't go on: a detector stopped it, or too many minibatches were skipped."""


class Finding(NamedTuple):
    """A problem that a detector found, and the reaction that the settings ask for."""

    name: str
    level: Level
    message: str
    reaction: Reaction = "alert"


@dataclass(frozen=True, slots=True)
class _Detector:
    """A detector. ``check(mean, lowest)`` returns a message, or None if there is no problem.

    ``mean`` and ``lowest`` map the names of metrics to numbers. ``mean`` contains each metric's
    average over the last ``WINDOW`` iterations. ``lowest`` contains each metric's lowest average
    since the run's start or the last rollback.
    """

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
    return (
        f"share of games cut at the maximum ply rose from {least:.0%} to {now:.0%}"
        if rising
        else None
    )


def _value_useless(mean: Values, lowest: Values) -> str | None:
    cross, base = mean["train/value_unseen"], mean["train/value_base_rate"]
    worse = cross > base * 1.02 + 0.01
    return (
        f"value loss on new games is {cross:.3f}; a constant prediction has {base:.3f}"
        if worse
        else None
    )


def _variance(mean: Values, lowest: Values) -> str | None:
    # The explained variance has no meaning if the value targets are nearly constant.
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
    """All detectors of a run. Each detector reports a problem once, when the problem begins."""

    def __init__(self, dtype: str, settings: DetectorSettings) -> None:
        self._tolerance = RATIO_TOLERANCE[dtype]
        self._settings = settings
        self._recovering = False
        self._forget()

    def reset(self) -> None:
        """Forget all metrics and problems. Call this after a rollback to older weights."""
        self._recovering = True
        self._forget()

    def _forget(self) -> None:
        self._recent: deque[Values] = deque(maxlen=WINDOW)
        self._lowest: Values = {}
        self._raised: set[str] = set()

    @property
    def quiet(self) -> bool:
        """Whether a later rollback is allowed to return to the present weights.

        The value is False while a detector in ``ERRORS`` sees a problem, unless its setting is
        ``ignore``. The value is also False while a detector with the setting ``rollback`` or
        ``stop`` sees a problem. After ``reset``, the value is False until ``WINDOW`` iterations
        have been checked.
        """
        reactions = self._settings.model_dump()
        wrong = {name for name in self._raised if name in ERRORS or reactions[name] != "alert"}
        return not (wrong or self._recovering)

    def check(self, values: Values) -> list[Finding]:
        """Return the problems that begin in an iteration. ``values`` are the iteration's metrics.

        Raises DivergedError if at least ``nonfinite_stop`` consecutive minibatches were skipped.
        If the settings ask for a rollback in this case, the error is not raised.
        """
        skipped, settings = values["train/skipped_in_a_row"], self._settings
        if skipped >= settings.nonfinite_stop and settings.nonfinite != "rollback":
            raise DivergedError(
                f"{skipped:.0f} minibatches in a row were skipped: loss or gradient not finite"
            )
        found = _errors(values, self._tolerance)
        seen = {key: value for key, value in values.items() if not key.startswith("speed/")}
        # Speeds are left out. A resumed run must reach the same state, but its speeds differ.
        self._recent.append(seen)
        if len(self._recent) == WINDOW:
            self._recovering = False
            found += self._over_window()
        reactions = settings.model_dump()
        found = [
            finding._replace(reaction=reactions[finding.name])
            for finding in found
            if reactions[finding.name] != "ignore"
        ]
        fresh = [finding for finding in found if finding.name not in self._raised]
        self._raised = {finding.name for finding in found}
        return fresh

    def _over_window(self) -> list[Finding]:
        """Return the problems that the averages over ``WINDOW`` iterations show."""
        mean = {key: _mean([v[key] for v in self._recent if key in v]) for key in self._recent[-1]}
        self._lowest = {k: float(np.fmin(v, self._lowest.get(k, v))) for k, v in mean.items()}
        found = []
        for detector in _DETECTORS:
            message = detector.check(mean, self._lowest)
            if message:
                found.append(Finding(detector.name, detector.level, message))
        return found

    def state(self) -> dict[str, Any]:
        """Return the state that ``load_state`` restores, ready for JSON."""
        return {
            "recent": list(self._recent),
            "lowest": self._lowest,
            "raised": sorted(self._raised),
            "recovering": self._recovering,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``state`` returned."""
        self._recent = deque(state["recent"], maxlen=WINDOW)
        self._lowest, self._raised = dict(state["lowest"]), set(state["raised"])
        self._recovering = state.get("recovering", False)


def _errors(values: Values, tolerance: float) -> list[Finding]:
    """Return the problems that the detectors in ``ERRORS`` find in one iteration."""
    found = []
    if values["train/skipped"]:
        message = f"{values['train/skipped']:.0f} minibatches skipped: loss or gradient not finite"
        found.append(Finding("nonfinite", "error", message))
    error = values["train/ratio_error"]
    if error > tolerance:
        message = f"probability ratio has an error of {error:.2g} before the first step"
        found.append(Finding("ratio", "error", message))
    return found


def _mean(values: list[float]) -> float:
    """Return the mean of the finite values, or NaN if no value is finite.

    No detector reports a problem for NaN.
    """
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
