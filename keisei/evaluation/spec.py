"""What an evaluation is to find out, in words that can be kept and sent."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from keisei.evaluation.match import check_resign
from keisei.evaluation.sprt import Sprt
from keisei.evaluation.strategies import find_strategy

LOCAL = ("random", "material")
"""Players that need no file."""
CURRENT = "current"
"""The network that is being trained."""
BEST = "best"
"""The run's strongest network so far, by sequential tests; ``random`` before the first one."""
ENGINE = "usi:"
"""How the text of an engine begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """Players and how they meet. Raises ValueError naming the field, its bounds and the value.

    A player is ``random``, ``material``, a run or checkpoint (its path), or an engine
    (``usi:PATH?...``); in a run that trains also ``current`` and ``best``.
    """

    agents: tuple[str, ...] = (CURRENT,)
    """Who is measured; the first one's score is the evaluation's."""
    opponents: tuple[str, ...] = ("random",)
    strategy: str = "single"
    games: int = 200
    """Of each match: even, each opening is played from both seats."""
    greedy: bool = False
    """Whether networks play their most probable move; else they draw from their policy."""
    seed: int = 0
    """Of all random numbers."""
    sprt: tuple[float, float] | None = None
    """(elo0, elo1): end a match as soon as its pairs have decided between the two."""
    promote: bool = False
    """Make ``current`` the run's ``best`` if the sequential test accepts it."""
    max_ply: int = 512
    """Plies after which a game is capped."""
    declaration: Literal["27", "24", "none"] = "27"
    resign: float = 0.0
    """Expectation, -1 to 0, at which networks resign (see ``MatchSpec``); 0: never."""
    openings: str | None = None
    """File of openings; None: the shipped book."""
    concurrency: int = 2
    """Games at once, where engines play: one process each."""

    def __post_init__(self) -> None:
        strategy = find_strategy(self.strategy)
        for name, one in ("agents", strategy.one_agent), ("opponents", strategy.one_opponent):
            players = getattr(self, name)
            if not players and not strategy.own_opponents:
                raise ValueError(f"{name}: at least one")
            if one and len(players) > 1:
                rest = ", ".join(players[1:])
                raise ValueError(f"{name}: {self.strategy} leaves out {rest}; gauntlet does not")
        if self.promote and (self.agents, self.opponents) != ((CURRENT,), (BEST,)):
            raise ValueError("promote: current against best, and nobody else")
        if self.promote and (self.sprt is None or self.strategy != "single"):
            raise ValueError("promote: needs sprt and the strategy single")
        if self.games < 2 or self.games % 2:
            raise ValueError(f"games: an even number, 2 or more (got {self.games})")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed: 0 to 2**64 - 1 (got {self.seed})")
        if not 1 <= self.max_ply <= 32_767:
            raise ValueError(f"max_ply: 1 to 32767 (got {self.max_ply})")
        if self.concurrency < 1:
            raise ValueError(f"concurrency: 1 or more (got {self.concurrency})")
        check_resign(self.resign)
        if self.sprt is not None:
            Sprt(*self.sprt)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """What ``to_dict`` gave, as JSON gives it back."""
        lists = ("agents", "opponents", "sprt")
        fields: Any = {
            key: tuple(value) if key in lists and value is not None else value
            for key, value in data.items()
        }
        return cls(**fields)
