"""The settings of one match: players, openings and rules."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from keisei.evaluation.game import Opening
from keisei.evaluation.local import KINDS, Kind
from keisei.evaluation.network_options import NetworkOptions
from keisei.match_rules import MatchRules


@dataclass(frozen=True, slots=True)
class MatchSpec(MatchRules):
    """Settings of a match.

    A wrong field raises a ValueError that names the field and the reason.
    """

    opponent: Kind
    """Kind of the opponent.

    ``random`` chooses each legal move with the same probability. ``material`` looks one ply ahead.
    Both move by themselves. The caller supplies the moves of ``network`` and ``engine``."""
    agent: Kind = "network"
    """Kind of the player whose result the match reports."""
    openings: Sequence[Opening] = field(default=(Opening(),), repr=False)
    """Openings of the pairs: pair k uses opening k. If there are more pairs than openings, the
    openings repeat in the same sequence."""
    trained_max_ply: tuple[int | None, int | None] = (None, None)
    """Maximum ply in the agent's and in the opponent's training games. Each network sees the ply
    divided by the maximum ply of its own training games. None means ``max_ply`` of this match."""
    options: tuple[NetworkOptions, NetworkOptions] = (NetworkOptions(), NetworkOptions())
    """How the agent's and the opponent's networks play."""

    def __post_init__(self) -> None:
        MatchRules.__post_init__(self)  # super() fails in a dataclass with slots
        for name, kind in (("agent", self.agent), ("opponent", self.opponent)):
            if kind not in KINDS:
                raise ValueError(f"{name}: one of {', '.join(KINDS)} (got {kind!r})")
        if not self.openings:
            raise ValueError("openings: at least one")

    def opening(self, pair: int) -> Opening:
        """Return the opening of a pair."""
        return self.openings[pair % len(self.openings)]
