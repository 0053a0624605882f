"""Measures how much time each phase of an iteration takes."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

PHASES = ("inference", "sampling", "opponents", "env", "gae", "update")


class Clock:
    """Seconds that each phase has taken since the last ``reset``.

    A GPU works through a queue. If a phase waits for the GPU, as sampling often does, its seconds
    include work that earlier phases queued.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set the seconds of all phases to zero."""
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the seconds that the ``with`` block takes to the phase."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


class Stopwatch:
    """Running time of a generator, without the time it spends suspended."""

    def __init__(self) -> None:
        self._total = 0.0
        self._since = time.perf_counter()

    def turn_seconds(self) -> float:
        """Return the seconds since the generator started or last resumed."""
        return time.perf_counter() - self._since

    def suspend(self) -> Generator[None, None, None]:
        """Yield once to the generator's caller. Time until the generator resumes does not count."""
        self._total += self.turn_seconds()
        yield
        self._since = time.perf_counter()

    def total_seconds(self) -> float:
        """Return the running time up to now."""
        return self._total + self.turn_seconds()
