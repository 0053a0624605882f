"""Tree searches for the moves of a match: a tree for each game and player."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.env import MOST_LEGAL, VectorEnv
from keisei.evaluation import MatchSpec, Wanted
from keisei.evaluation.network_options import NetworkOptions
from keisei.search import Search, SearchOptions
from keisei.shogi import Position

LEAVES = 8
"""Positions of a single tree that are given to the network together."""
FIRST = -1e9
"""First-play urgency with which every move at the root is visited before any is visited again."""


class MatchTrees:
    """The search trees of a match. They are kept from move to move."""

    def __init__(self, spec: MatchSpec) -> None:
        self._spec = spec
        self._env: VectorEnv | None = None
        self._searches: list[Search | None] = [None, None]

    def begin(self, wanted: Wanted) -> list[tuple[int, Search]]:
        """Plant the positions of the players that search; return the searches with work to do.

        Each search comes with its side: 0 for the agent, 1 for the opponent.
        """
        if wanted.env is not self._env:  # the next games have begun
            self._env = wanted.env
            self._searches = [
                _search(self._spec, side, len(wanted.env), leaves=1)
                if self._spec.options[side].searches
                else None
                for side in (0, 1)
            ]
        found = []
        for side, search in enumerate(self._searches):
            places = np.flatnonzero(wanted.opponents == bool(side))
            if search is not None and len(places):
                for k in places.tolist():
                    self._plant(search, side, wanted, k)
                found.append((side, search))
        return found

    def choose(
        self, wanted: Wanted, actions: NDArray[np.int16], values: NDArray[np.float32]
    ) -> None:
        """Write the moves of finished searches, and their values, into the two arrays."""
        for side, search in enumerate(self._searches):
            if search is not None:
                for k in np.flatnonzero(wanted.opponents == bool(side)).tolist():
                    t, draw = int(wanted.rows[k]), float(wanted.draw[k])
                    actions[k], values[k] = _choose(search, t, self._spec, side, draw)

    def _plant(self, search: Search, side: int, wanted: Wanted, k: int) -> None:
        row, mask = int(wanted.rows[k]), wanted.mask[k]
        search.plant(
            row,
            wanted.env.games[row],
            *wanted.env.history(row),
            wanted.observation[k],
            mask,
            trained_max_ply=self._spec.trained_max_ply[side] or self._spec.max_ply,
            simulations=_simulations(self._spec.options[side], int(np.bitwise_count(mask).sum())),
        )


class GameTree:
    """The search tree of one player in one game, which is kept from move to move."""

    def __init__(self, spec: MatchSpec, side: int) -> None:
        """``side``: 0 for the agent, 1 for the opponent; this player must search."""
        self._spec, self._side = spec, side
        self.search = _search(spec, side, 1, LEAVES)

    @classmethod
    def of(cls, spec: MatchSpec, side: int) -> "GameTree | None":
        """Return a tree for a player; None if the player does not search."""
        return cls(spec, side) if spec.options[side].searches else None

    def plant(self, position: Position) -> None:
        """Make the position of the game the root."""
        self.search.plant_position(
            0,
            position,
            trained_max_ply=self._spec.trained_max_ply[self._side] or self._spec.max_ply,
            simulations=_simulations(self._spec.options[self._side], len(position.legal_moves())),
        )

    def choose(self, draw: float) -> tuple[int, float]:
        """Return the action and value that the finished search chooses."""
        return _choose(self.search, 0, self._spec, self._side, draw)


def _search(spec: MatchSpec, side: int, trees: int, leaves: int) -> Search:
    options = spec.options[side]
    how: dict[str, Any] = {"leaves": leaves, "mates": options.mates(spec)}
    how["simulations"] = _simulations(options, MOST_LEGAL)
    if options.value:
        how["root_urgency"] = FIRST
    return Search(trees, SearchOptions(**how), max_ply=spec.max_ply, declaration=spec.declaration)


def _simulations(options: NetworkOptions, moves: int) -> int:
    """Return the number of simulations; ``moves`` is the number of legal moves."""
    return 1 + moves if options.value else options.simulations


def _choose(search: Search, t: int, spec: MatchSpec, side: int, draw: float) -> tuple[int, float]:
    options = spec.options[side]
    if options.value:
        best = max(search.lines(t, MOST_LEGAL), key=lambda line: line.value)
        return best.action, best.value
    greedy, temperature = options.choice(spec)
    return search.choose(t, greedy=greedy, temperature=temperature, draw=draw)
