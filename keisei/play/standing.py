"""The state of a match in an evaluation: the ended games, the score and the sequential test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.evaluation import MatchSpec, PlayedGame, tally
from keisei.evaluation.local import Kind
from keisei.evaluation.network_options import NetworkOptions
from keisei.evaluation.ratings import GameScore
from keisei.evaluation.sprt import Sprt
from keisei.evaluation.statistics import score_interval, strength
from keisei.play.networks import LoadedNetwork
from keisei.store.matches import MatchGame
from keisei.usi import EngineSpec


@dataclass(frozen=True, slots=True)
class Contestant:
    """A player of an evaluation, ready to play."""

    name: str
    """Name of the player in tables and game records."""
    kind: Kind
    network: LoadedNetwork | None = None
    engine: EngineSpec | None = None
    options: NetworkOptions = field(default_factory=NetworkOptions)
    """How the network plays."""


@dataclass(slots=True)
class MatchStanding:
    """A match of an evaluation, with those games of the match that have ended."""

    agent: Contestant
    opponent: Contestant
    spec: MatchSpec
    first: int
    """Number of this match's first game within the evaluation, where games are numbered from 0."""
    games: dict[int, PlayedGame] = field(default_factory=dict)
    """Games that have ended, by their number within the match. ``add`` adds games here."""
    more: dict[str, Any] = field(default_factory=dict)
    """Additional results: faults and CPU time of engines, and an error that ended the match."""
    test: dict[str, Any] | None = None
    """State of the sequential test; None if there is no test, or until the test has used a pair."""
    points: NDArray[np.float64] = field(init=False)
    """[games] Points of the agent in each game; NaN for a game that has not ended."""
    _tested: NDArray[np.int64] = field(default_factory=lambda: np.zeros(5, np.int64))
    """[5] Counts of the pairs that the sequential test has used.

    Element ``k`` counts the pairs in which the agent scored ``k`` half points.
    """

    def __post_init__(self) -> None:
        self.points = np.full(self.spec.games, np.nan)

    def add(self, games: Iterable[PlayedGame]) -> None:
        """Add games that have ended."""
        for game in games:
            self.games[game.number] = game
            self.points[game.number] = game.points

    def advance_test(self, sprt: Sprt) -> None:
        """Let the test use complete pairs in the order of their numbers, until the test decides.

        If the test used pairs in the order in which they end, the test would be biased
        towards short games.
        """
        pairs = self.points.reshape(-1, 2).sum(1)[self._tested.sum() :]  # NaN: incomplete pair
        ended = np.logical_and.accumulate(np.isfinite(pairs))
        points = (2 * pairs[ended]).astype(np.int64)
        if self.decided or not len(points):
            return
        counts = self._tested + np.eye(5, dtype=np.int64)[points].cumsum(0)  # after each pair
        lower, upper = sprt.bounds
        ratio = sprt.llr(counts)
        decided = np.flatnonzero((ratio <= lower) | (ratio >= upper))
        self._tested = counts[decided[0] if len(decided) else -1]
        self.test = {"pairs": int(self._tested.sum()), **sprt.to_dict(self._tested)}

    @property
    def decided(self) -> bool:
        """Whether the sequential test has ended the match."""
        return self.test is not None and self.test["decision"] is not None

    @property
    def counting(self) -> int:
        """Number of games that count; these are the first games of the match.

        Before the test decides, all games count. Afterwards, only the games in tested pairs count.
        """
        return 2 * int(self._tested.sum()) if self.decided else self.spec.games

    def counted(self) -> list[PlayedGame]:
        """Return the ended games that count, in the order of their numbers."""
        return [self.games[number] for number in sorted(self.games) if number < self.counting]

    def to_dict(self) -> dict[str, Any]:
        """Return the match's players, counts, score and test, ready for JSON."""
        found = {"agent": self.agent.name, "opponent": self.opponent.name}
        games = self.counted()
        if games:
            points = np.array([game.points for game in games])
            pairs = np.array([game.pair for game in games])
            found |= tally(games).to_dict() | strength(points, pairs).to_dict()
        return found | self.more | ({"sprt": self.test} if self.test else {})

    def outcomes(self) -> list[GameScore]:
        """Return the scores of the games that count, as input for ratings."""
        found = []
        for game in self.counted():
            black, white = self._seats(game)
            points = game.points if game.agent == "black" else 1 - game.points
            found.append(GameScore(black, white, points))
        return found

    def row(self, game: PlayedGame) -> MatchGame:
        """Return a game as a row of the database. Replays the game, which takes milliseconds."""
        black, white = self._seats(game)
        return MatchGame(
            number=self.first + game.number,
            pair=self.first // 2 + game.pair,
            opening=self.spec.opening(game.pair).line,
            black=black,
            white=white,
            result=game.result,
            reason=game.reason,
            plies=game.plies,
            start=game.start,
            moves=" ".join(game.moves()),
            values=tuple(game.values.tolist()),
        )

    def recall(self, kept: dict[int, MatchGame]) -> None:
        """Add the complete pairs of this match that earlier processes played and stored."""
        names = [self.agent.name, self.opponent.name]
        for number in range(0, self.spec.games, 2):
            first = kept.get(self.first + number)
            second = kept.get(self.first + number + 1)
            if not first or not second:
                continue
            if [first.black, first.white] == names == [second.white, second.black]:
                self.add([_recalled(number, first), _recalled(number + 1, second)])

    def _seats(self, game: PlayedGame) -> tuple[str, str]:
        """Return the names of black and white in this game."""
        agent, opponent = self.agent.name, self.opponent.name
        return (agent, opponent) if game.agent == "black" else (opponent, agent)


def total_score(
    matches: Sequence[MatchStanding],
) -> tuple[float | None, tuple[float, float] | None, int]:
    """Return the first agent's score, the score's 95 % interval, and the number of complete pairs.

    All counted games of this agent are used. Score and interval are None until the first game
    has ended.
    """
    own = [match for match in matches if match.agent is matches[0].agent]
    points = np.concatenate([match.points[: match.counting] for match in own])
    pairs = np.concatenate([(match.first + np.arange(match.counting)) // 2 for match in own])
    ended = np.isfinite(points)
    if not ended.any():
        return None, None, 0
    points, pairs = points[ended], pairs[ended]
    complete = int((np.bincount(pairs) == 2).sum())
    return float(points.mean()), score_interval(points, pairs), complete


def _recalled(number: int, row: MatchGame) -> PlayedGame:
    """Return the game that a row describes. The moves are left out, because no code needs them."""
    none = np.empty(0)
    return PlayedGame(
        number=number,
        result=row.result,
        reason=row.reason,
        start=row.start,
        actions=none.astype(np.int16),
        values=none.astype(np.float32),
    )
