"""The result of ``keisei evaluate`` as a person and as a program reads it."""

import argparse
from typing import Any

import pytest

from keisei.cli.evaluation_report import as_json, as_text, live_table, matches_of
from keisei.evaluation.spec import EvaluationSpec

SPEC = EvaluationSpec(agents=("/runs/quick/checkpoints/7",), games=10, seed=3, sprt=(0, 5))
MATCH: dict[str, Any] = {
    "agent": "quick@7",
    "opponent": "random",
    "games": 10,
    "score": 0.75,
    "interval": [0.6, 0.9],
    "elo": 190.6,
    "elo_interval": [70.2, 381.8],
    "wins": 7,
    "draws": 1,
    "losses": 2,
    "capped": 0,
    "by_reason": {"wins": {"checkmate": 6, "declaration": 1}, "draws": {}, "losses": {}},
}
SPRT = {"pairs": 5, "decision": None, "llr": 0.5, "bounds": [-2.944, 2.944]}


def text(spec: EvaluationSpec = SPEC, **changed: Any) -> list[str]:
    report = {"seconds": 1.25, "evaluation": None, **MATCH, **changed}
    return as_text(report, spec).splitlines()


def test_a_result_of_one_match_is_that_match() -> None:
    assert matches_of(MATCH) == [MATCH]
    assert matches_of({"matches": [MATCH, MATCH]}) == [MATCH, MATCH]


def test_json_holds_the_result_with_players_rules_and_device() -> None:
    found = as_json(SPEC, argparse.Namespace(device="cpu"), MATCH)
    assert found["checkpoints"] == ["/runs/quick/checkpoints/7"]
    assert (found["strategy"], found["device"], found["seed"]) == ("single", "cpu", 3)
    assert {key: found[key] for key in MATCH} == MATCH


def test_text_begins_with_how_moves_are_chosen() -> None:
    assert text()[0] == "moves sampled at temperature 1, mates in one played, seed 3, 1.2 s"
    greedy = EvaluationSpec(agents=SPEC.agents, greedy=True, mates=3)
    assert text(greedy)[0].startswith("most probable moves, mates in three played, seed ")
    raw = EvaluationSpec(agents=SPEC.agents, seed=3, mates=0)
    assert text(raw)[0] == "moves sampled at temperature 1, seed 3, 1.2 s"


def test_text_has_score_interval_elo_and_the_reasons_of_results() -> None:
    assert text()[2:7] == [
        "quick@7 against random",
        "  score 0.750   95 % interval 0.600 to 0.900   10 games   Elo +191 (+70 to +382)",
        "  wins       7   checkmate 6, declaration 1",
        "  draws      1",
        "  losses     2",
    ]


@pytest.mark.parametrize(
    ("interval", "elo"),
    [
        ([70.2, None], "above +70"),
        ([None, -70.2], "below -70"),
        ([None, None], "unknown"),
    ],
)
def test_an_elo_that_is_bounded_on_one_side_or_not_at_all_says_so(
    interval: list[float | None], elo: str
) -> None:
    assert text(elo_interval=interval)[3].endswith(f"Elo {elo}")


@pytest.mark.parametrize(
    ("decision", "verdict"),
    [
        ("accept", "SPRT: H1 (+5 Elo) accepted after 5 pairs"),
        ("reject", "SPRT: H0 (+0 Elo) accepted after 5 pairs"),
    ],
)
def test_text_says_what_the_sequential_test_found(decision: str, verdict: str) -> None:
    assert text(sprt=SPRT | {"decision": decision})[-1].strip() == verdict


def test_an_undecided_test_is_shown_with_its_ratio_between_its_bounds() -> None:
    assert text(sprt=SPRT)[-1].strip() == (
        "SPRT: undecided between +0 and +5 Elo after 5 pairs"
        " (log-likelihood ratio +0.50, bounds -2.94 and +2.94)"
    )


def test_text_names_an_engine_and_its_faults() -> None:
    engine = {"engines": ["picky"], "engine_cpu_seconds": 2.0}
    calm = text(**engine, faults={"timeout": 0, "crash": 0})
    assert calm[-1] == "  engine picky: 2.0 s of CPU"
    bad = text(**engine, faults={"timeout": 1, "crash": 0})
    assert bad[-1] == "  failures of the engine (games played again): timeout 1"


def test_text_ends_with_where_the_evaluation_is_kept() -> None:
    assert text(evaluation="1a2b")[-1] == "kept as evaluation 1a2b of /runs/quick"


def test_there_is_no_live_table_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with live_table(None) as shown:  # type: ignore[arg-type]
        assert shown is None
