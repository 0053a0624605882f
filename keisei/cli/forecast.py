"""Compute which share of a run is done, and how long the rest will take."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keisei.config import Settings
    from keisei.events import Iteration

_ITERATIONS = 200
"""Number of newest iterations; their mean speed, with interruptions, gives the forecast."""


class Forecast:
    """The finished share of a run and the time to its end, by ``run.steps`` and ``run.minutes``."""

    share: float | None = None
    """Finished share (0 to 1) of the nearer limit; None without limit or before iteration 1."""
    seconds_left: float | None = None
    """Seconds until the nearer limit; None if there is no limit or the time is not known yet."""

    def __init__(self, settings: "Callable[[], Settings]") -> None:
        """``settings`` returns the run's settings. It is called only while the run is open."""
        self._settings = settings
        self._began: float | None = None
        self._seen: deque[tuple[float, int]] = deque(maxlen=_ITERATIONS)

    def see(self, event: "Iteration") -> None:
        """Update the forecast with a new iteration."""
        self._began = self._began or event.time
        self._seen.append((event.time, event.step))
        run = self._settings().run
        shares, left = [], []
        if run.steps:
            shares.append(event.step / run.steps)
            time, step = self._seen[0]
            if event.step > step and event.time > time:
                left.append((run.steps - event.step) * (event.time - time) / (event.step - step))
        if run.minutes:
            elapsed = event.time - self._began
            shares.append(elapsed / (run.minutes * 60))
            left.append(run.minutes * 60 - elapsed)
        self.share = min(1.0, max(shares)) if shares else None
        self.seconds_left = max(0.0, min(left)) if left else None
