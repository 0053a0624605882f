"""The result of a match, computed from its games."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keisei.evaluation.game import PlayedGame
from keisei.evaluation.statistics import score_interval


@dataclass(frozen=True, slots=True)
class MatchResult:
    """The agent's result in a match: ``games`` is wins + draws + losses + capped."""

    games: int
    wins: int
    draws: int
    losses: int
    capped: int
    """Number of games that were stopped at the maximum ply."""
    score: float
    """Points per game: (wins + (draws + capped) / 2) / games."""
    interval: tuple[float, float]
    """95 % confidence interval of the score, computed by ``score_interval``."""
    by_reason: dict[str, dict[str, int]]
    """For each of ``wins``, ``losses`` and ``draws``: how many games ended for each reason."""
    played: tuple[PlayedGame, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields except ``played``, as a dict for JSON."""
        return {
            "games": self.games,
            "wins": self.wins,
            "draws": self.draws,
            "losses": self.losses,
            "capped": self.capped,
            "score": self.score,
            "interval": list(self.interval),
            "by_reason": self.by_reason,
        }


def tally(played: Sequence[PlayedGame]) -> MatchResult:
    """Return the result of a match that consists of these games (one or more)."""
    ends: dict[str, Counter[str]] = {
        kind: Counter() for kind in ("wins", "draws", "losses", "capped")
    }
    kinds = {1.0: "wins", 0.0: "losses"}
    for game in played:
        undecided = "draws" if game.result == "draw" else "capped"
        ends[kinds.get(game.points, undecided)][game.reason] += 1
    points = np.array([game.points for game in played])
    return MatchResult(
        games=len(played),
        **{kind: found.total() for kind, found in ends.items()},
        score=float(points.mean()),
        interval=score_interval(points, np.array([game.pair for game in played])),
        by_reason={kind: dict(sorted(ends[kind].items())) for kind in ("wins", "losses", "draws")},
        played=tuple(played),
    )
