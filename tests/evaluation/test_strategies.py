"""Who meets whom, and when a strategy has seen enough."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from keisei.evaluation import MatchResult, strategies
from keisei.evaluation.spec import EvaluationSpec
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


def test_who_meets_whom() -> None:
    assert met("single", ["a", "b"], ["x", "y"], {}) == ["a-x"]
    assert met("gauntlet", ["a", "b"], ["x", "y"], {}) == ["a-x", "a-y", "b-x", "b-y"]
    assert met("round_robin", ["a", "b"], ["x"], {}) == ["a-b", "a-x", "b-x"]


def test_a_ladder_is_climbed_until_a_rung_is_not_beaten() -> None:
    rungs = ["w", "x", "y", "z"]
    assert met("ladder", ["a"], rungs, {"w": 0.9, "x": 0.51}) == ["a-w", "a-x", "a-y"]
    assert met("ladder", ["a"], rungs, dict.fromkeys(rungs, 1.0)) == ["a-w", "a-x", "a-y", "a-z"]


def test_the_benchmark_ends_where_there_is_nothing_to_learn() -> None:
    assert met("benchmark", ["a"], [], {}) == [f"a-{rung}" for rung in BENCHMARK]
    hopeless = met("benchmark", ["a"], [], {BENCHMARK[3]: 0.04})
    assert hopeless == [f"a-{rung}" for rung in BENCHMARK[:4]]
    for rung in BENCHMARK[2:]:
        assert EngineSpec.parse(rung).path == "fairy-stockfish"


def test_packages_bring_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        [
            EntryPoint("twice", f"{__name__}:TWICE", strategies.GROUP),
            EntryPoint("odd", f"{__name__}:result", strategies.GROUP),
        ]
    )
    monkeypatch.setattr(strategies, "entry_points", lambda group: points.select(group=group))
    assert met("twice", ["a"], ["x"], {}) == ["a-x", "a-x"]
    with pytest.raises(ValueError, match="round_robin, ladder, benchmark, twice, odd"):
        find_strategy("thrice")
    with pytest.raises(ValueError, match=r"test_strategies:result is not a .*Strategy"):
        find_strategy("odd")


def _twice(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
    for _ in range(2):
        yield Pairing(agents[0], opponents[0])


TWICE = Strategy(_twice)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"games": 3}, r"games: an even number, 2 or more \(got 3\)"),
        ({"seed": -1}, "seed: 0 to"),
        ({"max_ply": 0}, "max_ply: 1 to 32767"),
        ({"concurrency": 0}, "concurrency: 1 or more"),
        ({"opponents": ()}, "opponents: at least one"),
        ({"strategy": "best"}, "strategy: one of single"),
        (
            {"opponents": ("random", "material")},
            "opponents: single leaves out material",
        ),
        (
            {"agents": ("a", "b"), "strategy": "ladder"},
            "agents: ladder leaves out b",
        ),
        (
            {"promote": True, "sprt": (0, 20)},
            "promote: only for the agent current against the opponent best",
        ),
        ({"promote": True, "opponents": ("best",)}, "promote: needs sprt and the strategy single"),
        ({"sprt": (5, 5)}, "elo1: above elo0"),
    ],
)
def test_a_spec_out_of_bounds_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EvaluationSpec(**fields)


def test_a_spec_comes_back_from_json() -> None:
    import json

    spec = EvaluationSpec(opponents=("random", "material"), strategy="gauntlet", sprt=(0, 20))
    assert EvaluationSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


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
def test_how_many_matches_there_can_be(name: str, agents: int, matches: int) -> None:
    opponents = ("x", "y", "z") if name != "single" else ("x",)
    assert len(find_strategy(name).most_matches("ab"[:agents], opponents)) == matches


def test_an_endless_plan_is_not_counted_to_its_end() -> None:
    def plan(agents: Sequence[str], opponents: Sequence[str]) -> Plan:
        while True:
            yield Pairing("a", "b")

    assert len(Strategy(plan).most_matches((), ())) == MANY
