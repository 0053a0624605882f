"""Strategies pair the players and stop when the results say so."""

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from keisei import plugins
from keisei.evaluation import MatchResult, strategies
from keisei.evaluation.strategies import (
    BENCHMARK,
    MANY,
    Pairing,
    Plan,
    Strategy,
    find_strategy,
)
from keisei.usi import EngineSpec


def result(score: float) -> MatchResult:
    return MatchResult(2, 0, 0, 0, 0, score, (0.0, 1.0), {}, ())


def met(
    name: str, agents: Sequence[str], opponents: Sequence[str], scores: dict[str, float]
) -> list[str]:
    """The matches that a strategy asks for, when opponents give these scores (else one half)."""
    plan, found = find_strategy(name).plan(agents, opponents), []
    pairing: Pairing | None = next(plan, None)
    while pairing is not None:
        found.append(f"{pairing.agent}-{pairing.opponent}")
        try:
            pairing = plan.send(result(scores.get(pairing.opponent, 0.5)))
        except StopIteration:
            pairing = None
    return found


def test_single_gauntlet_and_round_robin_pair_the_players() -> None:
    assert met("single", ["a", "b"], ["x", "y"], {}) == ["a-x"]
    assert met("gauntlet", ["a", "b"], ["x", "y"], {}) == ["a-x", "a-y", "b-x", "b-y"]
    assert met("round_robin", ["a", "b"], ["x"], {}) == ["a-b", "a-x", "b-x"]


def test_a_ladder_is_climbed_until_a_rung_is_not_beaten() -> None:
    rungs = ["w", "x", "y", "z"]
    assert met("ladder", ["a"], rungs, {"w": 0.9, "x": 0.51}) == ["a-w", "a-x", "a-y"]
    assert met("ladder", ["a"], rungs, dict.fromkeys(rungs, 1.0)) == ["a-w", "a-x", "a-y", "a-z"]


def test_the_benchmark_ends_for_an_agent_without_a_chance() -> None:
    assert met("benchmark", ["a"], [], {}) == [f"a-{rung}" for rung in BENCHMARK]
    hopeless = met("benchmark", ["a"], [], {BENCHMARK[3]: 0.04})
    assert hopeless == [f"a-{rung}" for rung in BENCHMARK[:4]]
    assert BENCHMARK[:2] == ("random", "material")
    for rung in set(BENCHMARK[2:]) - {"shipped"}:
        assert EngineSpec.parse(rung).path == "fairy-stockfish"


def test_installed_packages_add_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        [
            EntryPoint("twice", f"{__name__}:TWICE", strategies.GROUP),
            EntryPoint("odd", f"{__name__}:result", strategies.GROUP),
            EntryPoint("leaving", f"{__name__}:LEAVING", strategies.GROUP),
            EntryPoint("broken", "not_there:PLAN", strategies.GROUP),
        ]
    )
    monkeypatch.setattr(plugins, "entry_points", lambda group: points.select(group=group))
    assert met("twice", ["a"], ["x"], {}) == ["a-x", "a-x"]
    with pytest.raises(ValueError, match="round_robin, ladder, benchmark, twice, odd"):
        find_strategy("thrice")
    with pytest.raises(ValueError, match=r"test_strategies:result is not a .*Strategy"):
        find_strategy("odd")
    with pytest.raises(ValueError, match="broken can't be loaded: No module named 'not_there'"):
        find_strategy("broken")
    with pytest.raises(RuntimeError, match=r"the strategy raised SystemExit\(3\)"):
        met("leaving", ["a"], ["x"], {})


def _twice(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    for _ in range(2):
        yield Pairing(agents[0], opponents[0])


def _leaving(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    yield Pairing(agents[0], opponents[0])
    sys.exit(3)


TWICE = Strategy(_twice)
LEAVING = Strategy(_leaving)


@pytest.mark.parametrize(
    ("name", "agents", "matches"),
    [
        ("single", 1, 1),
        ("gauntlet", 2, 6),
        ("round_robin", 2, 10),
        ("ladder", 1, 3),
        ("benchmark", 2, 6),
    ],
)
def test_a_strategy_tells_its_largest_number_of_matches(
    name: str, agents: int, matches: int
) -> None:
    opponents = ("x", "y", "z") if name != "single" else ("x",)
    assert len(find_strategy(name).most_matches("ab"[:agents], opponents)) == matches


def test_an_endless_plan_is_not_counted_to_its_end() -> None:
    def plan(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
        while True:
            yield Pairing("a", "b")

    assert len(Strategy(plan).most_matches((), ())) == MANY
