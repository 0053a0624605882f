"""Counts measurements in buckets, as a Prometheus histogram needs them."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Distribution:
    """The sum of all measurements, and the number of measurements at or below each bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds``: upper bounds of the buckets, in ascending order."""
        self.sum = 0.0
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        """Count one measurement."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Return the number of measurements at or below each bound and ``+Inf``."""
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))
