"""Counts and distributions of a run, for monitoring systems such as Prometheus."""

from collections import Counter

from keisei.events import Alert, Event, Iteration, Level
from keisei.feed.distribution import Distribution

ITERATION_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the buckets for the seconds of an iteration."""
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Upper bounds of the buckets for the delay of the event loop, in seconds."""


class Telemetry:
    """What happened in a run since this process opened the run. Event loop only."""

    def __init__(self, step: int) -> None:
        """``step``: step at which training begins."""
        self.values: dict[str, float] = {}
        """Metrics of the newest iteration, by name."""
        self.games = 0
        """Number of self-play games that ended."""
        self.alerts: Counter[Level] = Counter()
        """Number of alerts by level."""
        self.iteration_seconds = Distribution(ITERATION_SECONDS)
        """Seconds of each iteration; the time of evaluations is included, a pause is not."""
        self.loop_lag = Distribution(LAG_SECONDS)
        """Delay of each timer of the heartbeat, in seconds."""
        self._step = step

    def update(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, Alert):
            self.alerts[event.level] += 1
        elif isinstance(event, Iteration):
            self.values = event.values
            self.games += int(event.values.get("games/new", 0))
            steps, self._step = event.step - self._step, event.step
            speed = event.values.get("speed/steps_per_second", 0.0)
            if steps > 0 and speed > 0:
                self.iteration_seconds.add(steps / speed)
