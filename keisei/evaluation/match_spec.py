"""The settings of one match: players, openings and rules."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from keisei.evaluation.game import Opening
from keisei.evaluation.local import KINDS, Kind
from keisei.match_rules import MatchRules


@dataclass(frozen=True, slots=True)
class MatchSpec(MatchRules):
    """Settings of a match. Raises ValueError that names the field, its bounds and the value."""

    opponent: Kind
    """``random`` (uniform over the legal moves) and ``material`` (looks one ply ahead) move by
    themselves; the moves of ``network`` and ``engine`` come from outside."""
    agent: Kind = "network"
    """The player whose result the match reports."""
    openings: Sequence[Opening] = field(default=(Opening(),), repr=False)
    """Pair k starts from opening k; after the last opening the first one follows."""
    trained_max_ply: tuple[int | None, int | None] = (None, None)
    """Maximum ply of the training games of agent and opponent. A network sees the ply as a share of
    it. None: ``max_ply`` of this match."""

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
