"""The rules of an evaluation's games: what holds, and that every rule reaches all its users."""

from dataclasses import fields
from typing import Any

import pytest

from keisei.cli.main import main
from keisei.evaluation import MatchSpec
from keisei.evaluation.spec import EvaluationSpec
from keisei.match_rules import MatchRules
from keisei.server.models import EvalRequest

RULES = [rule.name for rule in fields(MatchRules)]
ODD: dict[str, Any] = {
    "games": 6, "seed": 9, "max_ply": 77, "declaration": "24", "resign": -0.5, "greedy": True,
    "temperature": 0.5, "mates": 3,
}  # fmt: skip
"""A value of each rule that is not the default."""


def test_the_examples_cover_every_rule() -> None:
    assert list(ODD) == RULES


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        ("games", 3, r"games: an even number, 2 or more \(got 3\)"),
        ("games", 0, "games: an even number"),
        ("seed", -1, r"seed: 0 to 2\*\*64 - 1"),
        ("max_ply", 0, "max_ply: 1 to 32767"),
        ("max_ply", 32_768, "max_ply: 1 to 32767"),
        ("declaration", "28", "declaration: 27, 24 or none"),
        ("resign", 0.1, "resign: -1 to 0"),
        ("resign", -1.1, "resign: -1 to 0"),
        ("temperature", 0, r"temperature: 0.01 to 100 \(got 0\)"),
        ("temperature", 101, "temperature: 0.01 to 100"),
        ("mates", 2, r"mates: 0, 1 or 3 \(got 2\)"),
    ],
)
def test_a_rule_out_of_bounds_is_refused(rule: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MatchRules(**{rule: value})


def test_a_match_and_an_evaluation_have_the_same_rules() -> None:
    odd = ODD | {"greedy": False}
    spec = EvaluationSpec(**odd)
    assert spec.rules() == odd
    assert MatchSpec("random", **spec.rules()).rules() == odd
    assert EvaluationSpec.from_dict(spec.to_dict()) == spec


def test_greedy_networks_have_no_temperature() -> None:
    with pytest.raises(ValueError, match="temperature: not allowed with greedy"):
        MatchRules(greedy=True, temperature=0.5)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_a_field_of_the_request(rule: str) -> None:
    request = EvalRequest.model_validate({rule: ODD[rule]})
    assert request.given_rules() == {rule: ODD[rule]}
    assert EvalRequest.model_validate({}).given_rules() == {}


def test_every_rule_is_a_flag_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    text = capsys.readouterr().out
    assert [rule for rule in RULES if f"--{rule.replace('_', '-')}" not in text] == []


@pytest.mark.parametrize("rule", RULES)
def test_a_description_stands_alone(rule: str) -> None:
    (field,) = (field for field in fields(MatchRules) if field.name == rule)
    text = field.metadata["description"]
    assert text[0].isupper()
    assert text.endswith(".")
