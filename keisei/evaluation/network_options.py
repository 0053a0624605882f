"""The options with which a network plays, written behind its name: ``RUN?simulations=64``."""

from dataclasses import dataclass, fields
from typing import Any, Self

from keisei.hint import did_you_mean
from keisei.match_rules import Choice, MatchRules, Mates

MOST_SIMULATIONS = 100_000
"""Largest number of simulations for one move of a match."""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How one network plays. What is not given here, the rules of the match decide.

    A wrong value raises a ValueError that names the option.
    """

    simulations: int = 0
    """Number of simulations of the tree search for each move; 0: the network alone chooses."""
    value: bool = False
    """Whether the player looks one ply ahead: it plays the move after which its value is best."""
    temperature: float | None = None
    """Temperature at which this player samples, also in a greedy match; None: as in the match."""
    mate: bool = True
    """Whether the search for forced mates that the match prescribes is made for this player."""

    def __post_init__(self) -> None:
        if not 0 <= self.simulations <= MOST_SIMULATIONS:
            raise ValueError(f"simulations: 0 to {MOST_SIMULATIONS} (got {self.simulations})")
        if self.temperature is not None and not 0.01 <= self.temperature <= 100:
            raise ValueError(f"temperature: 0.01 to 100 (got {self.temperature})")
        if self.value and (self.simulations or self.temperature is not None):
            raise ValueError("value: not allowed with simulations or temperature")

    @property
    def searches(self) -> bool:
        """Whether the player looks at positions that can follow."""
        return self.value or self.simulations > 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``simulations=64&temperature=0.5&mate=off``; an empty text gives the defaults."""
        found: dict[str, Any] = {}
        for item in filter(None, text.split("&")):
            name, _, value = item.partition("=")
            if name not in _READ:
                known = ", ".join(_READ)
                raise ValueError(
                    f"{name!r} is not an option of a network{did_you_mean(name, list(_READ))}; "
                    f"the options are {known}"
                )
            if name in found:
                raise ValueError(f"{name} is given twice")
            try:
                found[name] = _READ[name](value)
            except (ValueError, KeyError):
                raise ValueError(f"{name}: {_WANTED[name]} (got {value!r})") from None
        return cls(**found)

    def __str__(self) -> str:
        """Return the options as ``parse`` reads them, without those that have their default."""
        given = [
            (field.name, getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        shown = {True: "on", False: "off"}
        return "&".join(
            f"{name}={shown[value] if isinstance(value, bool) else f'{value:g}'}"
            for name, value in given
        )

    def choice(self, rules: MatchRules) -> Choice:
        """Return how this player chooses moves in a match with these rules."""
        return rules.choice if self.temperature is None else Choice(False, self.temperature)

    def mates(self, rules: MatchRules) -> Mates:
        """Return the longest forced mate that is searched for this player in a match."""
        return rules.mates if self.mate else 0

    def style(self, rules: MatchRules) -> str:
        """Return the suffix for the player's name in tables and ratings: how the player plays."""
        if self.value:
            return " value" + self._mates_style(rules)
        search = f" simulations={self.simulations}" if self.simulations else ""
        greedy, temperature = self.choice(rules)
        how = " greedy" if greedy else f" T={temperature:g}" if temperature != 1 else ""
        return search + how + self._mates_style(rules)

    def _mates_style(self, rules: MatchRules) -> str:
        mates = self.mates(rules)
        return f" mates={mates}" if mates else ""


_READ: dict[str, Any] = {
    "simulations": int,
    "value": {"on": True, "off": False}.__getitem__,
    "temperature": float,
    "mate": {"on": True, "off": False}.__getitem__,
}
_WANTED = {
    "simulations": f"a whole number from 0 to {MOST_SIMULATIONS}",
    "value": "on or off",
    "temperature": "a number from 0.01 to 100",
    "mate": "on or off",
}


def split_options(player: str) -> tuple[str, str]:
    """Split a player's text into its name and its options: ``RUN?simulations=64``.

    An engine's text (``usi:PATH?nodes=500``) is not split. A folder's name can contain ``?``; only
    the text after the last ``?`` is taken for options, and only if it contains ``=``.
    """
    name, mark, options = player.rpartition("?")
    if player.startswith("usi:") or not mark or "=" not in options:
        return player, ""
    return name, options
