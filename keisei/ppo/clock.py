"""Measures how much time each phase of an iteration takes."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

PHASES = ("inference", "sampling", "opponents", "env", "gae", "update")


class Clock:
    """Seconds that each phase has taken since the last ``reset``.

    A GPU executes work from a queue. If a phase waits for the GPU, that phase's seconds include
    work that earlier phases queued. Sampling often waits for the GPU.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set the seconds of all phases to zero."""
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the duration of the ``with`` block to the seconds of the phase ``name``."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


class Stopwatch:
    """Measures how long a generator runs. Time in which the generator is suspended is left out."""

    def __init__(self) -> None:
        self._total = 0.0
        self._since = time.perf_counter()

    def turn_seconds(self) -> float:
        """Return the seconds since the generator started or last resumed."""
        return time.perf_counter() - self._since

    def suspend(self) -> Generator[None, None, None]:
        """Yield to the generator's caller. The time until the generator resumes is left out."""
        self._total += self.turn_seconds()
        yield
        self._since = time.perf_counter()

    def total_seconds(self) -> float:
        """Return the seconds for which the generator has run until now."""
        return self._total + self.turn_seconds()
