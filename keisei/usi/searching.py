"""Searches one position for a ``go`` command, watches the clock, and reports."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from keisei.search import Line, Search
from keisei.search.tree import LOSS, WIN
from keisei.usi.clock import Budget, Progress, budget, enough
from keisei.usi.report import Counters, Variation, info_lines
from keisei.usi.turn import Turn

if TYPE_CHECKING:
    from keisei.shogi import Position
    from keisei.usi.mover import Thinker

DEFAULT_NODES = 800
"""Number of simulations if neither ``go`` nor ``NodesLimit`` says how long to think."""
MOST_VISITS = 2**30
"""The search ends at so many visits, because a tree counts them in 32 bits."""
ROUND = 4
"""Batches of simulations between two looks at the clock, if none needs the network."""
ALONE = 2**31
"""Lead of the only legal move."""
COMPARED = 5
"""Number of the best moves whose values are compared."""
DOUBT = 0.1
"""A move makes a search undecided if it has at least this share of the best move's visits."""


class Searching:
    """The search of a position that is the root of a tree already."""

    def __init__(
        self,
        search: Search,
        turn: Turn,
        position: "Position",
        thinker: "Thinker",
        send: Callable[[str], None],
        *,
        nodes: int | None,
        mate_found: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare the search.

        ``nodes``: largest number of simulations; None: no limit. ``mate_found``: whether somebody
        else has found a mate, which ends the search.
        """
        self._mate_found = mate_found
        self._search, self._turn, self._position = search, turn, position
        self._thinker, self._send = thinker, send
        self._before = search.size(0)[0]
        self._nodes = nodes
        self._most = min(nodes or MOST_VISITS, MOST_VISITS - self._before)
        self._begun = self._told = time.monotonic()
        self._batch = 0.0
        self._news = False

    def run(self) -> None:
        """Search until the move is wanted or nothing is left to find. The root gets a visit."""
        while self._advance():
            if self._turn.stopped or self._in_time():
                return
            self._report_sometimes()

    def report(self, lines: list[Line]) -> None:
        """Send the best moves, unless nothing has changed since the last time."""
        if self._news:
            variations = [
                self.variation(line, tried=bool(line.visits) or line is lines[0]) for line in lines
            ]
            counters = Counters(
                self._done,
                time.monotonic() - self._turn.begun,
                self._search.depth(0),
                self._search.fullness(0),
            )
            for text in info_lines(variations, counters, self._shown):
                self._send(text)
        self._news, self._told = False, time.monotonic()

    def variation(self, line: Line, *, tried: bool = True) -> Variation:
        """Return a move that the search found, in the words of USI; ``tried``: with its value."""
        follower = self._position.copy()
        moves = tuple(follower.play(action) for action in line.moves)
        mate = {WIN: line.plies, LOSS: -line.plies}.get(line.proven, 0)
        return Variation(moves, line.value if tried else None, mate, line.prior)

    @property
    def _shown(self) -> int:
        return self._turn.options.number("MultiPV")

    @property
    def _done(self) -> int:
        """Number of simulations of this search."""
        return self._search.size(0)[0] - self._before

    def _advance(self) -> bool:
        """Search one batch of positions. Return whether more is to be found."""
        begun, before = time.monotonic(), self._done
        left = self._most - before
        self._search.want(0, min(left, ROUND * self._search.options.leaves))
        leaves = self._search.request()
        if leaves is not None:
            self._search.answer(*self._thinker.assess(leaves.observation, leaves.mask))
        elif self._done == before:  # proven, or the memory is full
            return False
        self._news = True
        self._batch = max(time.monotonic() - begun, 0.8 * self._batch)
        return self._done < self._most and not self._deep_enough() and not self._mate_found()

    def _deep_enough(self) -> bool:
        depth = self._turn.limits.depth
        return depth is not None and len(self._search.lines(0)[0].moves) >= depth

    def _in_time(self) -> bool:
        """Return whether the move is wanted now."""
        if self._turn.endless:
            return False
        if self._turn.limits.empty and self._nodes is None:
            return self._done >= DEFAULT_NODES
        time_for_move = self._budget()
        return time_for_move is not None and enough(time_for_move, self._progress(), self._agreed)

    def _budget(self) -> Budget | None:
        options = self._turn.options
        return budget(
            self._turn.limits,
            black=self._position.side == "black",
            ply=self._position.ply,
            delay=options.number("NetworkDelay"),
            byoyomi_margin=options.number("ByoyomiMargin"),
            ponder=options.flag("USI_Ponder"),
        )

    def _progress(self) -> Progress:
        now = time.monotonic()
        visits = np.sort(self._search.visits(0)[1])
        lead = int(visits[-1] - visits[-2]) if len(visits) > 1 else ALONE
        pace = self._done / max(now - self._begun, 1e-3)
        return Progress(now - self._turn.clock_began, self._batch, lead, pace)

    def _agreed(self) -> bool:
        """Return whether no much visited move has a higher value than the most visited move."""
        best, *others = self._search.lines(0, COMPARED)
        return all(
            line.value <= best.value for line in others if line.visits >= DOUBT * best.visits
        )

    def _report_sometimes(self) -> None:
        interval = self._turn.options.number("PvInterval") / 1000
        if time.monotonic() - self._told >= interval:
            self.report(self._search.lines(0, self._shown))
