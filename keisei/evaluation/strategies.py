"""Strategies: which players meet, one match after another.

A strategy is a generator function: it yields pairings, and gets the result of each sent back before
it yields the next. Other packages add theirs by an entry point of the group ``keisei.strategies``.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from itertools import combinations

import numpy as np

from keisei.evaluation.match import MatchResult, PlayedGame, tally

GROUP = "keisei.strategies"
RUNGS = (500, -4), (500, -2), (500, 0), (500, 5), (500, 10), (1500, 20), (5000, 20)
"""Nodes and Skill Level of Fairy-Stockfish, none weaker than the one before: what separates them is
in docs/experiments.md. Levels 5 and 10 hardly differ at so few nodes."""
MANY = 1000
"""Matches of one evaluation: no plan is asked for more to see how many there will be."""
HOPELESS = 0.05
"""Score below which a stronger opponent would teach nothing."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """A match to be played."""

    agent: str
    opponent: str


Plan = Generator[Pairing, MatchResult, None]


@dataclass(frozen=True, slots=True)
class Strategy:
    """How players meet."""

    plan: Callable[[Sequence[str], Sequence[str]], Plan]
    """Of agents and opponents."""
    own_opponents: bool = False
    """Whether it brings opponents of its own, where none are given."""
    one_agent: bool = False
    """Whether it takes no more than one."""
    one_opponent: bool = False
    """The same."""

    def most_matches(self, agents: Sequence[str], opponents: Sequence[str]) -> list[Pairing]:
        """The matches if every agent wins all its games; up to ``MANY`` of them."""
        none = np.empty(0)
        win = tally(
            [PlayedGame(0, "black", "", "", none.astype(np.int16), none.astype(np.float32))]
        )
        plan = self.plan(agents, opponents)
        found: list[Pairing] = []
        try:
            found.append(next(plan))
            while len(found) < MANY:
                found.append(plan.send(win))
        except StopIteration:
            pass
        return found


def single(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """One match, of the first agent against the first opponent."""
    yield Pairing(agents[0], opponents[0])


def gauntlet(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Every agent against every opponent."""
    for agent in agents:
        for opponent in opponents:
            yield Pairing(agent, opponent)


def round_robin(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Everybody against everybody."""
    for one, other in combinations([*agents, *opponents], 2):
        yield Pairing(one, other)


def ladder(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """The first agent climbs: it meets the next opponent when it has beaten the one before."""
    for opponent in opponents:
        result = yield Pairing(agents[0], opponent)
        if result.score <= 0.5:
            return


def benchmark(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Every agent against opponents of known order, the weakest first, while it has a chance."""
    for agent in agents:
        for opponent in opponents or BENCHMARK:
            result = yield Pairing(agent, opponent)
            if result.score < HOPELESS:
                break


BENCHMARK = (
    "random",
    "material",
    *(f"usi:fairy-stockfish?nodes={nodes}&Skill Level={level}" for nodes, level in RUNGS),
)
STRATEGIES = {
    "single": Strategy(single, one_agent=True, one_opponent=True),
    "gauntlet": Strategy(gauntlet),
    "round_robin": Strategy(round_robin),
    "ladder": Strategy(ladder, one_agent=True),
    "benchmark": Strategy(benchmark, own_opponents=True),
}


def find_strategy(name: str) -> Strategy:
    """Ours, or an installed package's. Raises ValueError naming what there is."""
    if name in STRATEGIES:
        return STRATEGIES[name]
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise ValueError(f"strategy: one of {', '.join([*STRATEGIES, *found])} (got {name!r})")
    strategy = found[name].load()
    if not isinstance(strategy, Strategy):
        raise ValueError(f"strategy: {found[name].value} is no keisei.Strategy")  # noqa: TRY004
    return strategy
