"""Strategies: who meets whom in an evaluation, one match after another.

A strategy is a generator function: it yields a pairing and receives the match's result before it
yields the next one. Other packages add strategies by entry points of ``keisei.strategies``.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from itertools import combinations

import numpy as np

from keisei.evaluation.game import PlayedGame
from keisei.evaluation.result import MatchResult, tally

GROUP = "keisei.strategies"
"""Group of entry points."""
RUNGS = (500, -4), (500, -2), (500, 0), (500, 5), (500, 10), (1500, 20), (5000, 20)
"""Nodes and Skill Level of Fairy-Stockfish, weakest first; docs/experiments.md has their strengths.

Levels 5 and 10 hardly differ at 500 nodes."""
MANY = 1000
"""Matches at which ``most_matches`` stops counting, because a plan may be endless."""
HOPELESS = 0.05
"""Score below which matches against stronger opponents would measure nothing."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The two players of a match."""

    agent: str
    opponent: str


Plan = Generator[Pairing, MatchResult, None]
"""Yields the next match to play; receives its result."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way in which players meet."""

    plan: Callable[[Sequence[str], Sequence[str]], Plan]
    """From agents and opponents to the plan of their matches."""
    own_opponents: bool = False
    """Whether it has opponents of its own for when none are given."""
    one_agent: bool = False
    """Whether it takes at most one agent."""
    one_opponent: bool = False
    """Whether it takes at most one opponent."""

    def most_matches(self, agents: Sequence[str], opponents: Sequence[str]) -> list[Pairing]:
        """Return the matches if every agent wins all its games; ``MANY`` at most."""
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
    """One match: the first agent against the first opponent."""
    yield Pairing(agents[0], opponents[0])


def gauntlet(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Every agent against every opponent."""
    for agent in agents:
        for opponent in opponents:
            yield Pairing(agent, opponent)


def round_robin(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Every player against every other one."""
    for first, second in combinations([*agents, *opponents], 2):
        yield Pairing(first, second)


def ladder(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """The first agent against one opponent after another, until it fails to beat one."""
    for opponent in opponents:
        result = yield Pairing(agents[0], opponent)
        if result.score <= 0.5:
            return


def benchmark(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Every agent against ever stronger opponents, until its score falls below ``HOPELESS``."""
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
    """Return a strategy of ours or of an installed package.

    Raises ValueError that lists the known strategies.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise ValueError(f"strategy: one of {', '.join([*STRATEGIES, *found])} (got {name!r})")
    strategy = found[name].load()
    if not isinstance(strategy, Strategy):
        raise ValueError(f"strategy: {found[name].value} is not a keisei.Strategy")  # noqa: TRY004
    return strategy
