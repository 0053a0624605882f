"""The rules by which the games of an evaluation are played.

``EvaluationSpec`` and ``MatchSpec`` extend ``MatchRules``. Each field of ``MatchRules`` becomes a
flag of ``keisei evaluate`` and a key in the body of ``POST /api/eval``. To add a rule, add a field
here, and add the code that applies the rule.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

RESIGN_AFTER = 3
"""Number of consecutive moves at which a network must expect a loss before it resigns."""


Mates = Literal[0, 1, 3]
"""Longest forced mate, in moves of both sides, that is searched for a network; 0: no search."""


def rule(default: Any, description: str) -> Any:
    """Return a field of ``MatchRules``. ``description`` is one sentence that needs no context."""
    return field(default=default, metadata={"description": description})


class Choice(NamedTuple):
    """How a network chooses a move: two arguments of ``keisei.nets.policy.Agent.choose``."""

    greedy: bool
    temperature: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRules:
    """How games are played.

    A wrong field raises a ValueError that names the field and the reason.
    """

    games: int = rule(
        200,
        "Number of games in each match; must be even, because every second game swaps the seats.",
    )
    seed: int = rule(0, "Seed of all random numbers.")
    max_ply: int = rule(
        512, "Number of plies, including the opening, after which a game is capped."
    )
    declaration: Literal["27", "24", "none"] = rule(
        "27", "Entering-king rule; both sides declare a win as soon as they can."
    )
    resign: float = rule(
        0.0,
        f"A network resigns if its values at its last {RESIGN_AFTER} moves are all at or below "
        "this number, from -1 (a certain loss) to 0; 0 means never.",
    )
    greedy: bool = rule(
        False, "Networks always play the most probable move, and do not sample from their policy."
    )
    temperature: float = rule(
        1.0,
        "Temperature at which networks sample; below 1, probable moves become more probable, and "
        "above 1, less probable.",
    )
    mates: Literal[0, 1, 3] = rule(
        1,
        "Longest forced mate, in moves of both sides, that is searched for a network and played if it "
        "is found: 1, 3, or 0 for no search. The search finds every mate in one.",
    )

    def __post_init__(self) -> None:
        if self.games < 2 or self.games % 2:
            raise ValueError(f"games: an even number, 2 or more (got {self.games})")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed: 0 to 2**64 - 1 (got {self.seed})")
        if not 1 <= self.max_ply <= 32_767:
            raise ValueError(f"max_ply: 1 to 32767 (got {self.max_ply})")
        if self.declaration not in {"27", "24", "none"}:
            raise ValueError(f"declaration: 27, 24 or none (got {self.declaration!r})")
        if not -1 <= self.resign <= 0:
            raise ValueError(f"resign: -1 to 0 (got {self.resign})")
        if not 0.01 <= self.temperature <= 100:
            raise ValueError(f"temperature: 0.01 to 100 (got {self.temperature})")
        if self.greedy and self.temperature != 1:
            raise ValueError("temperature: not allowed with greedy (greedy networks do not sample)")
        if self.mates not in {0, 1, 3}:
            raise ValueError(f"mates: 0, 1 or 3 (got {self.mates})")

    def rules(self) -> dict[str, Any]:
        """Return the rules by name. Fields that a subclass adds are not rules."""
        return {rule.name: getattr(self, rule.name) for rule in fields(MatchRules)}

    @property
    def choice(self) -> Choice:
        """How networks choose their moves."""
        return Choice(self.greedy, self.temperature)
