"""The options of a tree search."""

import math
from dataclasses import dataclass

from keisei.match_rules import Mates


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How a tree is searched. ``docs/guide/search.md`` explains the options.

    A wrong value raises a ValueError that names the option.
    """

    simulations: int = 64
    """Number of simulations for each move, 1 or more. A simulation adds a visit to the root."""
    leaves: int = 1
    """Largest number of positions of one tree that wait for the network at the same time."""
    c_init: float = 0.8
    """Weight of exploration in the rule PUCT."""
    c_base: float = 28_288.0
    """Number of visits at which the weight of exploration has grown by log(2)."""
    urgency: float = 0.54
    """First-play urgency: how much lower than its parent's value an unvisited move is valued.

    The number is multiplied by the square root of the visited moves' total prior probability."""
    root_urgency: float = 0.0
    """The same as ``urgency``, for the moves at the root. A large negative number lets the search
    visit every move at the root before it visits one again."""
    temperature: float = 2.5
    """Temperature of the network's policy. Above 1, the prior probabilities of moves become more
    equal, so that the search looks at more moves."""
    mates: Mates = 1
    """Longest forced mate, in moves of both sides, that is searched in every new position."""

    def __post_init__(self) -> None:
        if self.simulations < 1:
            raise ValueError(f"simulations: 1 or more (got {self.simulations})")
        if self.leaves < 1:
            raise ValueError(f"leaves: 1 or more (got {self.leaves})")
        for name in ("urgency", "root_urgency"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name}: a finite number (got {getattr(self, name)})")
        if not 0 <= self.c_init < math.inf:
            raise ValueError(f"c_init: 0 or more (got {self.c_init})")
        for name in ("c_base", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: more than 0 (got {getattr(self, name)})")
        if self.mates not in {0, 1, 3}:
            raise ValueError(f"mates: 0, 1 or 3 (got {self.mates})")
