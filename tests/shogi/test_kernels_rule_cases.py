"""The rules in 290 cases with answers on which several independent libraries agree."""

import json
from pathlib import Path
from typing import Any

import pytest

from keisei.shogi import Position

GOLDEN = Path(__file__).parents[1] / "golden" / "shogi_cases.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
WINNER = {
    "draw": None,
    "black_loses_perpetual_check": "white",
    "white_loses_perpetual_check": "black",
}

Case = dict[str, Any]


def of_kind(kind: str) -> pytest.MarkDecorator:
    cases = [pytest.param(case, id=case["name"]) for case in CASES if case["kind"] == kind]
    return pytest.mark.parametrize("case", cases)


def test_there_are_290_cases() -> None:
    assert len(CASES) == 290


@of_kind("legal_moves")
def test_the_legal_moves_and_actions_are_those_of_the_case(case: Case) -> None:
    played = Position(case["sfen"])
    for move in case["moves"]:
        played.push(move)
    for position in (played, Position(case["final_sfen"])):
        assert position.legal_moves() == case["expected_moves"]
        assert position.in_check == case["in_check"]
        labels = [position.action(move) for move in case["expected_moves"]]
        assert sorted(labels) == case["expected_labels2187"]
        assert [position.usi(label) for label in labels] == case["expected_moves"]
    assert played.sfen().split()[:2] == case["final_sfen"].split()[:2]


@of_kind("perft")
def test_perft_counts_the_nodes_of_the_case(case: Case) -> None:
    assert Position(case["sfen"]).perft(case["depth"]) == case["expected_nodes"]


@of_kind("repetition")
def test_the_fourth_repetition_ends_the_game_as_in_the_case(case: Case) -> None:
    position = Position(case["sfen"])
    occurrences, ends = [position.occurrences], []
    for ply, move in enumerate(case["moves"], start=1):
        position.push(move)
        occurrences.append(position.occurrences)
        outcome = position.outcome()
        if outcome is not None:
            ends.append((ply, outcome))
    assert occurrences == case["per_ply_occurrences"]
    if case["game_over_ply"] is None:
        assert not ends
        return
    ply, outcome = ends[0]
    assert ply == case["game_over_ply"]
    assert outcome.winner == WINNER[case["expected_result"]]
    drawn = case["expected_result"] == "draw"
    assert outcome.reason == ("repetition" if drawn else "perpetual_check")


@of_kind("nyugyoku")
def test_a_declaration_claims_what_the_case_says(case: Case) -> None:
    position = Position(case["sfen"])
    assert position.in_check == case["in_check"]
    assert (position.declaration("27") == "win") == case["expected_declare_27"]
    assert (position.declaration("24") or "none") == case["expected_result_24"]
    assert position.declaration("none") is None
    outcome = position.outcome()
    if case["expected_declare_27"]:
        assert outcome is not None
        assert (outcome.reason, outcome.winner) == ("declaration", position.side)
    else:
        assert outcome is None
    assert position.outcome(declaration="none") is None
