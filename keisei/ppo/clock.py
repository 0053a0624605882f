"""Measures where the time of an iteration goes."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

PHASES = ("inference", "sampling", "opponents", "env", "gae", "update")


class Clock:
    """Seconds by phase since the last ``reset``.

    A GPU works on a queue. A phase that waits for it (mostly sampling) is charged for the work that
    earlier phases queued.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the block to a phase."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


class Stopwatch:
    """Running time of a generator, without the time it spends suspended."""

    def __init__(self) -> None:
        self._total = 0.0
        self._since = time.perf_counter()

    def turn_seconds(self) -> float:
        """Return the seconds since the start, or since the last ``suspend``."""
        return time.perf_counter() - self._since

    def suspend(self) -> Generator[None, None, None]:
        """Yield once to the generator's caller; do not count the seconds until it comes back."""
        self._total += self.turn_seconds()
        yield
        self._since = time.perf_counter()

    def total_seconds(self) -> float:
        """Return the running time up to now."""
        return self._total + self.turn_seconds()
