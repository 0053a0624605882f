"""The settings of an evaluation are checked, and they survive JSON."""

import json
from typing import Any

import pytest

from keisei.evaluation.spec import EvaluationSpec


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"games": 3}, r"games: an even number, 2 or more \(got 3\)"),
        ({"seed": -1}, "seed: 0 to"),
        ({"max_ply": 0}, "max_ply: 1 to 32767"),
        ({"concurrency": 0}, "concurrency: 1 or more"),
        ({"opponents": ()}, "opponents: at least one"),
        ({"strategy": "best"}, "strategy: 'best' is not one of single"),
        (
            {"opponents": ("random", "material")},
            "opponents: the strategy single would leave out material",
        ),
        (
            {"agents": ("a", "b"), "strategy": "ladder"},
            "agents: the strategy ladder would leave out b",
        ),
        (
            {"promote": True, "sprt": (0, 20)},
            "promote: needs the agent current and the opponent best",
        ),
        ({"promote": True, "opponents": ("best",)}, "promote: needs sprt and the strategy single"),
        ({"sprt": (5, 5)}, "elo1: above elo0"),
    ],
)
def test_a_spec_out_of_bounds_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EvaluationSpec(**fields)


def test_a_spec_comes_back_from_json() -> None:
    spec = EvaluationSpec(opponents=("random", "material"), strategy="gauntlet", sprt=(0, 20))
    assert EvaluationSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_networks_of_an_evaluation_that_an_older_version_stored_look_for_no_mates() -> None:
    older = EvaluationSpec().to_dict()
    del older["mates"]
    assert EvaluationSpec.from_dict(older) == EvaluationSpec(mates=0) != EvaluationSpec()
