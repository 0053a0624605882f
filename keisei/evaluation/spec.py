"""The settings of one evaluation, in a form that JSON can represent."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from keisei.config import Settings
from keisei.evaluation.local import LOCAL_PLAYERS
from keisei.evaluation.network_options import NetworkOptions, split_options
from keisei.evaluation.sprt import Sprt
from keisei.evaluation.strategies import find_strategy
from keisei.match_rules import MatchRules

LOCAL: tuple[str, ...] = LOCAL_PLAYERS
"""Names of the players that need no file."""
CURRENT = "current"
"""Name of the network that is being trained."""
BEST = "best"
"""Name of the network that the run's sequential tests found to be the strongest.

Until a test accepts a network, this name means the player ``random``."""
ENGINE = "usi:"
"""First characters of a player's name if the player is an engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec(MatchRules):
    """The players of an evaluation, the strategy that pairs them, and the rules of the games.

    A wrong field raises a ValueError that names the field and the reason.

    A player is ``random``, ``material``, ``shipped``, the path of a run or a checkpoint, or an
    engine (``usi:PATH?...``). While a run trains, ``current`` and ``best`` are players too. Behind
    a network's name, options may follow, such as ``current?simulations=64`` (``NetworkOptions``).
    """

    agents: tuple[str, ...] = (CURRENT,)
    """Players that are measured; the score of the first agent is the evaluation's score."""
    opponents: tuple[str, ...] = ("random",)
    strategy: str = "single"
    sprt: tuple[float, float] | None = None
    """(elo0, elo1) of the test ``Sprt``, which can end a match early; None means no test."""
    promote: bool = False
    """Whether ``current`` becomes the run's ``best`` if the sequential test accepts ``current``."""
    openings: str | None = None
    """Path of a file of openings; None means Keisei's opening book."""
    concurrency: int = 2
    """Number of games that run at the same time in a match with engines.

    Games that run at the same time share no engine process."""

    def __post_init__(self) -> None:
        MatchRules.__post_init__(self)  # super() fails in a dataclass with slots
        strategy = find_strategy(self.strategy)
        for name, single in ("agents", strategy.one_agent), ("opponents", strategy.one_opponent):
            players = getattr(self, name)
            if not players and not strategy.own_opponents:
                raise ValueError(f"{name}: at least one")
            for player in players:
                _check_options(name, player)
            if single and len(players) > 1:
                rest = ", ".join(players[1:])
                raise ValueError(
                    f"{name}: the strategy {self.strategy} would leave out {rest}; use gauntlet"
                )
        if self.promote and (self.agents, self.opponents) != ((CURRENT,), (BEST,)):
            raise ValueError("promote: needs the agent current and the opponent best")
        if self.promote and (self.sprt is None or self.strategy != "single"):
            raise ValueError("promote: needs sprt and the strategy single")
        if self.concurrency < 1:
            raise ValueError(f"concurrency: 1 or more (got {self.concurrency})")
        if self.sprt is not None:
            Sprt(*self.sprt)  # raises ValueError if out of bounds

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a spec from the result of ``to_dict``, even if JSON turned tuples into lists.

        A spec without the rule ``mates`` was stored before this rule existed: ``mates`` is 0.
        """
        lists = ("agents", "opponents", "sprt")
        fields: Any = {
            key: tuple(value) if key in lists and value is not None else value
            for key, value in ({"mates": 0} | data).items()
        }
        return cls(**fields)


def _check_options(field: str, player: str) -> None:
    """Raise ValueError if the options behind a player's name are wrong."""
    name, options = split_options(player)
    try:
        NetworkOptions.parse(options)
    except ValueError as error:
        raise ValueError(f"{field}: {player}: {error}") from None
    if options and name in LOCAL:
        raise ValueError(f"{field}: {player}: {name} is not a network, so it has no options")


def rules_in(settings: Settings) -> dict[str, Any]:
    """Return the match rules, by name, that a run's settings prescribe for evaluations."""
    wanted = settings.evaluation
    return {
        "games": wanted.games,
        "max_ply": wanted.max_ply,
        "declaration": settings.env.declaration,
    }
