"""A match of networks or local players (not engines), with many games at the same time.

The caller supplies the moves of networks. Local players move by themselves::

    match = Match(MatchSpec("random", games=200))
    while (wanted := match.request()) is not None:
        match.answer(*agent.choose(wanted.observation, wanted.mask, draw=wanted.draw))
    print(match.result())
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.evaluation.batch import GameBatch, Wanted
from keisei.evaluation.game import PlayedGame
from keisei.evaluation.match_spec import MatchSpec
from keisei.evaluation.result import MatchResult, tally

NO_LIMIT = -1
"""Value of ``request``'s argument ``most`` for no limit: a countdown from -1 never reaches 0."""
BATCH_GAMES = 512
"""Largest number of games that are played at the same time.

When all these games are over, the next games begin. This number limits how much work a match gives
to the device thread at a time.
"""
BATCH_NODES = 200_000
"""Largest number of nodes in the search trees of one player's games, about 200 MB."""


class Match:
    """A match that is being played.

    Call ``request`` and ``answer`` alternately until ``request`` returns None. Each pair has its
    own random numbers, and both games of the pair use them. These random numbers do not depend on
    the number of games in the match. Therefore, with the same seed and players, a longer match
    contains the games of a shorter match. A match between two equal networks ends in a tie: in the
    second game of each pair the seats are swapped, and the moves are the same.
    """

    def __init__(self, spec: MatchSpec, pairs: Sequence[int] | None = None) -> None:
        """``pairs``: numbers of the pairs that are still to be played; None means all pairs."""
        self.spec = spec
        self.todo = list(range(spec.games // 2) if pairs is None else pairs)
        """Numbers of the pairs that have not begun."""
        self.played: list[PlayedGame] = []
        """Games that have ended, sorted by the time of their end."""
        self._batch: GameBatch | None = None

    def request(self, most: int = NO_LIMIT) -> Wanted | None:
        """Return the positions that need a network's move, or None when all games are over.

        A network is not asked if it has a forced mate (see ``MatchRules.mates``). While no network
        is asked, this method plays the forced mates and the local players' moves. ``most`` limits
        the number of these plies. At the limit, this method returns 0 positions, so that the caller
        can do other work. Then the caller must call ``answer`` with 0 moves.
        """
        while self._batch or self.todo:
            if self._batch is None:
                half = _games_at_once(self.spec) // 2
                now, self.todo = self.todo[:half], self.todo[half:]
                self._batch = GameBatch(self.spec, now)
            wanted = self._batch.request(most)
            if wanted is not None:
                return wanted
            self._collect_ended()
        return None

    def answer(
        self, actions: NDArray[np.integer[Any]], values: NDArray[np.floating[Any]] | None = None
    ) -> None:
        """Play the networks' moves. Every running game advances by one ply.

        Args:
            actions: int[M], a legal move for each of the M positions that ``request`` returned.
            values: [M], P(win) - P(loss) that the networks expect in the M positions, or None.

        Raises:
            ValueError: a move is not legal, or the number of moves is not M.
        """
        if self._batch is None:
            raise ValueError("no move was asked for: call request first")
        self._batch.answer(actions, values)
        self._collect_ended()

    def result(self) -> MatchResult:
        """Return the result of the ended games. Raises ValueError if no game has ended."""
        if not self.played:
            raise ValueError("no game has ended, so there is no result")
        return tally(sorted(self.played, key=lambda game: game.number))

    def _collect_ended(self) -> None:
        """Move the games that have just ended from the batch to ``played``."""
        batch = self._batch
        if batch is not None:
            self.played += batch.take_ended()
            if batch.over:
                self._batch = None


def _games_at_once(spec: MatchSpec) -> int:
    """Return how many games are played at the same time: fewer if their search trees are large."""
    simulations = max(options.simulations for options in spec.options)
    return max(2, min(BATCH_GAMES, BATCH_NODES // (2 * simulations + 2)))
