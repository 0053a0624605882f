"""The settings of one match: players, number of games, openings and rules."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from keisei.evaluation.game import Opening
from keisei.evaluation.local import KINDS, Kind

RESIGN_AFTER = 3
"""Hopeless moves of a network in a row after which it resigns, where resigning is allowed."""


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """Settings of a match. Raises ValueError that names the field, its bounds and the value."""

    opponent: Kind
    """``random`` (uniform over the legal moves) and ``material`` (looks one ply ahead) move by
    themselves; the moves of ``network`` and ``engine`` come from outside."""
    agent: Kind = "network"
    """The player whose result the match reports."""
    games: int = 200
    """An even number: each opening is played from both seats."""
    seed: int = 0
    """Seed of all random numbers, the networks' draws included."""
    openings: Sequence[Opening] = field(default=(Opening(),), repr=False)
    """Pair k starts from opening k; after the last opening the first one follows."""
    max_ply: int = 512
    """Plies after which a game is capped, the opening's included."""
    declaration: Literal["27", "24", "none"] = "27"
    """Entering-king rule; both sides declare as soon as they can."""
    resign: float = 0.0
    """A network resigns when it has expected this value or less (-1: a certain loss) at
    ``RESIGN_AFTER`` of its moves in a row. For example -0.95; 0: no network
    resigns."""
    trained_max_ply: tuple[int | None, int | None] = (None, None)
    """Maximum ply of the training games of agent and opponent. A network sees the ply as a share of
    it. None: ``max_ply`` of this match."""

    def __post_init__(self) -> None:
        for name, kind in (("agent", self.agent), ("opponent", self.opponent)):
            if kind not in KINDS:
                raise ValueError(f"{name}: one of {', '.join(KINDS)} (got {kind!r})")
        check_games(self.games)
        check_seed(self.seed)
        check_max_ply(self.max_ply)
        if not self.openings:
            raise ValueError("openings: at least one")
        check_resign(self.resign)

    def opening(self, pair: int) -> Opening:
        """Return the opening of a pair."""
        return self.openings[pair % len(self.openings)]


def check_games(games: int) -> None:
    """Raise ValueError if the games can't be pairs."""
    if games < 2 or games % 2:
        raise ValueError(f"games: an even number, 2 or more (got {games})")


def check_seed(seed: int) -> None:
    """Raise ValueError if the seed is not an unsigned 64-bit number."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: 0 to 2**64 - 1 (got {seed})")


def check_max_ply(max_ply: int) -> None:
    """Raise ValueError if the maximum ply is out of bounds."""
    if not 1 <= max_ply <= 32_767:
        raise ValueError(f"max_ply: 1 to 32767 (got {max_ply})")


def check_resign(value: float) -> None:
    """Raise ValueError if the value at which a network resigns is not one of a loss."""
    if not -1 <= value <= 0:
        raise ValueError(f"resign: -1 to 0 (got {value})")
