"""Looks for a long mate on a thread of its own, while the network is asked about the position."""

import threading
from types import TracebackType
from typing import Self

from keisei.shogi import MateSearch, Position, Solution

NODES = 2_000_000
"""Most positions that are visited beside a search."""


class Solving:
    """A mate solver that runs within its ``with`` block."""

    def __init__(self, position: Position, *, memory_mib: int, most: int | None) -> None:
        """``most``: longest mate in plies; None: any length."""
        self._search = MateSearch(
            position, nodes=NODES, memory_mib=memory_mib, most=most, shorten=False
        )
        self._solution: Solution | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def mate(self) -> tuple[str, ...]:
        """The moves of the mate that was found; empty so far or for good."""
        return self._solution.moves if self._solution else ()

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the thread, but do not wait for its end: the GUI wants the move now."""
        self._search.stop()

    def _run(self) -> None:
        self._solution = self._search.run()
