"""A ``go`` command, and what the GUI has said since. Two threads use it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from keisei.usi.limits import Limits
from keisei.usi.options import Options

if TYPE_CHECKING:
    from keisei.shogi import MateSearch

_CLOCK = ("btime", "wtime", "byoyomi", "binc", "winc")


class Turn:
    """A move that a GUI wants. The thread that reads the GUI's lines calls ``stop`` and so on."""

    def __init__(self, limits: Limits, position: Sequence[str], options: Options) -> None:
        self.limits = limits
        self.position = tuple(position)
        """Words of the command ``position``."""
        self.options = options
        self.begin()
        self.pondering = limits.ponder
        """Whether the clock of the opponent still runs."""
        self.stopped = False
        """Whether the GUI wants the move now."""
        self.done = False
        """Whether the answer was sent."""
        self.solver: MateSearch | None = None
        """The solver of ``go mate``, which ``stop`` stops."""
        self._news = threading.Event()

    def begin(self) -> None:
        """Begin to count the time."""
        self.begun = time.monotonic()
        """Time since which the search lasts."""
        self.clock_began = self.begun
        """Time since which the engine's own clock runs."""

    @property
    def endless(self) -> bool:
        """Whether the GUI does not want the move before it says so."""
        return not self.stopped and (self.pondering or self.limits.infinite)

    @property
    def is_analysis(self) -> bool:
        """Whether the move is not for the game: after ``infinite``, or after a wrong ``ponder``."""
        return self.pondering or self.limits.infinite

    def stop(self) -> None:
        """End the thinking."""
        self.stopped = True
        if self.solver:
            self.solver.stop()
        self._news.set()

    def ponderhit(self, words: Sequence[str]) -> None:
        """Let the engine's own clock run. Some GUIs write the present times behind the command."""
        told = Limits.parse(words)
        if told.timed:
            self.limits = replace(self.limits, **{name: getattr(told, name) for name in _CLOCK})
        self.clock_began = time.monotonic()
        self.pondering = False
        self._news.set()

    def hang_up(self) -> None:
        """The GUI is gone: end the thinking if it would never end."""
        if self.endless or (self.limits.solve and self.limits.mate is None):
            self.stop()

    def wait(self) -> None:
        """Wait until the GUI wants the move."""
        while self.endless:
            self._news.wait()
            self._news.clear()
