"""A match between two players of any kind but engines, with many games side by side.

The moves of networks come from outside; local players move by themselves::

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
"""A count of plies that never runs down to 0."""
BATCH_GAMES = 512
"""Games that are played side by side; the next ones follow when all of these are over.

Bounds the work of one turn of the device thread.
"""


class Match:
    """A match that is being played.

    Alternate ``request`` and ``answer`` until ``request`` returns None. Each pair has its own
    random numbers, the same in both of its games and for any number of games: the same players
    always play pair k of a seed the same. So a match of equal networks is even: the second game of
    a pair repeats the first with the seats changed.
    """

    def __init__(self, spec: MatchSpec, pairs: Sequence[int] | None = None) -> None:
        """``pairs``: those that are still to be played; None: all."""
        self.spec = spec
        self._todo = list(range(spec.games // 2) if pairs is None else pairs)
        self.played: list[PlayedGame] = []
        """Games that have ended, in the order of their ends."""
        self._batch: GameBatch | None = None

    def request(self, most: int = NO_LIMIT) -> Wanted | None:
        """Return the positions that want a network's move, or None when all games are over.

        Plays on by itself while only local players are to move. After ``most`` such plies it
        returns 0 positions, so that the caller gets a turn; answer these too, with 0 moves.
        """
        while self._batch or self._todo:
            if self._batch is None:
                half = BATCH_GAMES // 2
                now, self._todo = self._todo[:half], self._todo[half:]
                self._batch = GameBatch(self.spec, now)
            wanted = self._batch.request(most)
            if wanted is not None:
                return wanted
            self._collect_ended()
        return None

    def answer(
        self, actions: NDArray[np.integer[Any]], values: NDArray[np.floating[Any]] | None = None
    ) -> None:
        """Play the networks' moves: all games go on by one ply.

        Args:
            actions: int[M], a legal move for each position, in the order of ``request``.
            values: [M], what the network expects, P(win) - P(loss); None: unknown.

        Raises:
            ValueError: a move is not legal, or there are not M moves.
        """
        if self._batch is None:
            raise ValueError("no move was asked for: call request first")
        self._batch.answer(actions, values)
        self._collect_ended()

    def result(self) -> MatchResult:
        """Count the games that have ended, by number. Raises ValueError before the first one."""
        if not self.played:
            raise ValueError("no game has ended")
        return tally(sorted(self.played, key=lambda game: game.number))

    def _collect_ended(self) -> None:
        """Move the games that have just ended from the batch to ``played``."""
        batch = self._batch
        if batch is not None:
            self.played += batch.take_ended()
            if batch.over:
                self._batch = None
