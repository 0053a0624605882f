"""Where the time of an iteration goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = ("inference", "sampling", "opponents", "env", "gae", "update")


class Clock:
    """Seconds a phase, since the last ``reset``. On a GPU work is queued, and a phase that waits for
    the device (sampling, above all) is charged for what was queued before it.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)

    def reset(self) -> None:
        """Start from zero."""
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the block to a phase."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start
