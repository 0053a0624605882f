"""Searches for the moves of a match: a tree for each game and player."""

import numpy as np
from numpy.typing import NDArray

from keisei.env import VectorEnv
from keisei.evaluation import MatchSpec, Wanted
from keisei.search import Search, SearchOptions

LEAVES = 8
"""Positions of a single tree that are given to the network together."""


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
            self._env, self._searches = wanted.env, [None, None]
        found = []
        for side, options in enumerate(self._spec.options):
            places = np.flatnonzero(wanted.opponents == bool(side))
            if options.simulations and len(places):
                search = self._search(side)
                for k in places.tolist():
                    self._plant(search, wanted, k)
                found.append((side, search))
        return found

    def choose(
        self,
        wanted: Wanted,
        actions: NDArray[np.int16],
        values: NDArray[np.float32],
    ) -> None:
        """Write the moves of finished searches, and their values, into the two arrays."""
        for side, options in enumerate(self._spec.options):
            search = self._searches[side]
            if not options.simulations or search is None:
                continue
            greedy, temperature = options.choice(self._spec)
            for k in np.flatnonzero(wanted.opponents == bool(side)).tolist():
                actions[k], values[k] = search.choose(
                    int(wanted.rows[k]),
                    greedy=greedy,
                    temperature=temperature,
                    draw=float(wanted.draw[k]),
                )

    def _search(self, side: int) -> Search:
        search, env = self._searches[side], self._env
        if search is None and env is not None:
            search = self._searches[side] = _search(self._spec, side, len(env), leaves=1)
        assert search is not None  # noqa: S101 (`begin` has set the games)
        return search

    def _plant(self, search: Search, wanted: Wanted, k: int) -> None:
        row = int(wanted.rows[k])
        search.plant(
            row,
            wanted.env.games[row],
            *wanted.env.history(row),
            wanted.observation[k],
            wanted.mask[k],
            trained_max_ply=self._spec.trained_max_ply[wanted.opponents[k]] or self._spec.max_ply,
        )


def game_tree(spec: MatchSpec, side: int) -> Search | None:
    """Return a search with one tree for a game; None if the player of this side does not search."""
    return _search(spec, side, 1, LEAVES) if spec.options[side].simulations else None


def _search(spec: MatchSpec, side: int, trees: int, leaves: int) -> Search:
    options = spec.options[side]
    return Search(
        trees,
        SearchOptions(simulations=options.simulations, leaves=leaves, mates=options.mates(spec)),
        max_ply=spec.max_ply,
        declaration=spec.declaration,
    )
