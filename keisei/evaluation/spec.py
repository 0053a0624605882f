"""The settings of one evaluation, which can be stored and sent as JSON."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from keisei.evaluation.local import LOCAL_PLAYERS
from keisei.evaluation.match_spec import check_games, check_max_ply, check_resign, check_seed
from keisei.evaluation.sprt import Sprt
from keisei.evaluation.strategies import find_strategy

LOCAL: tuple[str, ...] = LOCAL_PLAYERS
"""Players that need no file."""
CURRENT = "current"
"""The network that is being trained."""
BEST = "best"
"""The run's strongest network so far, by sequential tests; before the first test ``random``."""
ENGINE = "usi:"
"""Prefix of an engine's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """Players and how they meet. Raises ValueError that names the field, its bounds and the value.

    A player is ``random``, ``material``, a run or checkpoint (its path), or an engine
    (``usi:PATH?...``); while a run trains also ``current`` and ``best``.
    """

    agents: tuple[str, ...] = (CURRENT,)
    """Players that are measured; the score of the first one is the evaluation's score."""
    opponents: tuple[str, ...] = ("random",)
    strategy: str = "single"
    games: int = 200
    """Games of each match, an even number: each opening is played from both seats."""
    greedy: bool = False
    """Whether networks play their most probable move; else they draw a move from their policy."""
    seed: int = 0
    """Seed of all random numbers."""
    sprt: tuple[float, float] | None = None
    """(elo0, elo1) of ``Sprt``: end each match as soon as the test decides."""
    promote: bool = False
    """Make ``current`` the run's ``best`` if the sequential test accepts it."""
    max_ply: int = 512
    """Plies after which a game is capped."""
    declaration: Literal["27", "24", "none"] = "27"
    resign: float = 0.0
    """Value, -1 to 0, at which networks resign (see ``MatchSpec.resign``); 0: they never do."""
    openings: str | None = None
    """Path of a file of openings; None: the shipped book."""
    concurrency: int = 2
    """Games at a time in matches with engines; each game has its own process of each engine."""

    def __post_init__(self) -> None:
        strategy = find_strategy(self.strategy)
        for name, single in ("agents", strategy.one_agent), ("opponents", strategy.one_opponent):
            players = getattr(self, name)
            if not players and not strategy.own_opponents:
                raise ValueError(f"{name}: at least one")
            if single and len(players) > 1:
                rest = ", ".join(players[1:])
                raise ValueError(
                    f"{name}: {self.strategy} leaves out {rest}; use the strategy gauntlet"
                )
        if self.promote and (self.agents, self.opponents) != ((CURRENT,), (BEST,)):
            raise ValueError("promote: only for the agent current against the opponent best")
        if self.promote and (self.sprt is None or self.strategy != "single"):
            raise ValueError("promote: needs sprt and the strategy single")
        check_games(self.games)
        check_seed(self.seed)
        check_max_ply(self.max_ply)
        if self.concurrency < 1:
            raise ValueError(f"concurrency: 1 or more (got {self.concurrency})")
        check_resign(self.resign)
        if self.sprt is not None:
            Sprt(*self.sprt)  # raises ValueError if out of bounds

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a spec from the result of ``to_dict`` after a round trip through JSON."""
        lists = ("agents", "opponents", "sprt")
        fields: Any = {
            key: tuple(value) if key in lists and value is not None else value
            for key, value in data.items()
        }
        return cls(**fields)
