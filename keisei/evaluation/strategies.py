"""Strategies decide which players meet in an evaluation, one match after another.

The plan of a strategy is a generator. This generator yields the pairing of a match, and receives
the result of the match before the generator yields the next pairing. Other packages can add
strategies through entry points in the group ``keisei.strategies``.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from keisei.evaluation.game import PlayedGame
from keisei.evaluation.result import MatchResult, tally
from keisei.plugins import installed, no_such_name
from keisei.resources import SHIPPED

GROUP = "keisei.strategies"
"""Group of the entry points by which packages add strategies."""
RUNGS = (500, -4), (500, -2), (500, 0), (500, 5), (500, 10), (1500, 20), (5000, 20)
"""Nodes and Skill Level of each Fairy-Stockfish opponent, sorted from weakest to strongest.

docs/experiments.md lists their strengths. At 500 nodes, levels 5 and 10 are nearly equal."""
MANY = 1000
"""Maximum number of matches that ``most_matches`` returns, because a plan can be endless."""
HOPELESS = 0.05
"""Score below which an agent meets no stronger opponents: they would win nearly all games."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The two players of a match."""

    agent: str
    opponent: str


Plan = Generator[Pairing, MatchResult, None]
"""Generator that yields the next match to play and receives the result of that match."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to pair the players of an evaluation."""

    plan: Callable[[Sequence[str], Sequence[str]], Plan]
    """Function that returns the plan for the names of the agents and of the opponents."""
    own_opponents: bool = False
    """Whether the strategy has its own opponents, which play if no opponents are given."""
    one_agent: bool = False
    """Whether the strategy accepts at most one agent."""
    one_opponent: bool = False
    """Whether the strategy accepts at most one opponent."""

    def most_matches(self, agents: Sequence[str], opponents: Sequence[str]) -> list[Pairing]:
        """Return the matches, at most ``MANY``, that are played if the agents win all games."""
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
    """Plan one match: the first agent against the first opponent."""
    yield Pairing(agents[0], opponents[0])


def gauntlet(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Plan matches of every agent against every opponent."""
    for agent in agents:
        for opponent in opponents:
            yield Pairing(agent, opponent)


def round_robin(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Plan matches of every player against every other player."""
    for first, second in combinations([*agents, *opponents], 2):
        yield Pairing(first, second)


def ladder(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Plan matches of the first agent against each opponent in turn.

    The plan ends after the first match that the agent does not win.
    """
    for opponent in opponents:
        result = yield Pairing(agents[0], opponent)
        if result.score <= 0.5:
            return


def benchmark(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    """Plan matches of each agent against stronger and stronger opponents.

    The matches of an agent stop after a score below ``HOPELESS``.
    """
    for agent in agents:
        for opponent in opponents or BENCHMARK:
            result = yield Pairing(agent, opponent)
            if result.score < HOPELESS:
                break


_ENGINES = [f"usi:fairy-stockfish?nodes={nodes}&Skill Level={level}" for nodes, level in RUNGS]
BENCHMARK = ("random", "material", _ENGINES[0], SHIPPED, *_ENGINES[1:])
"""The benchmark's own opponents, sorted from weakest to strongest."""
STRATEGIES = {
    "single": Strategy(single, one_agent=True, one_opponent=True),
    "gauntlet": Strategy(gauntlet),
    "round_robin": Strategy(round_robin),
    "ladder": Strategy(ladder, one_agent=True),
    "benchmark": Strategy(benchmark, own_opponents=True),
}


def find_strategy(name: str) -> Strategy:
    """Return the strategy with this name, which Keisei or an installed package provides.

    Raises ValueError if the name is unknown (the message lists the known strategies), or if the
    package's code fails.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    found = installed(GROUP)
    if name not in found:
        raise ValueError(no_such_name("strategy", name, (*STRATEGIES, *found)))
    try:
        strategy = found[name].load()
    except (Exception, SystemExit) as error:  # a package's code may raise any exception
        raise ValueError(f"strategy: {name} can't be loaded: {error}") from error
    if not isinstance(strategy, Strategy):
        raise ValueError(f"strategy: {found[name].value} is not a keisei.Strategy")  # noqa: TRY004
    return replace(strategy, plan=_contained(strategy.plan))


def _contained(plan: Callable[[Sequence[str], Sequence[str]], Plan]) -> Callable[..., Plan]:
    """Return a plan that raises RuntimeError where ``plan`` would end the program."""

    def contained(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
        try:
            yield from plan(agents, opponents)
        except SystemExit as error:
            raise RuntimeError(f"the strategy raised {error!r}") from error

    return contained
