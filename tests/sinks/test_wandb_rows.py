"""The rows that W&B gets for iterations and evaluations."""

from typing import Any

from keisei.events import Evaluation, Iteration
from keisei.sinks.wandb_rows import evaluation_row, to_row

FIELDS: dict[str, Any] = {"id": "e", "step": 900, "measured": 700, "spec": None}


def test_an_iteration_has_its_step_and_leaves_evaluations_to_their_own_axis() -> None:
    values = {"train/kl": 0.5, "eval/score": 0.9}
    row = to_row(Iteration(run="r", step=100, time=0, iteration=2, values=values))
    assert row
    assert row.values == {"train/step": 100, "train/iteration": 2, "train/kl": 0.5}


def test_only_ended_evaluations_are_rows() -> None:
    running = Evaluation(run="r", step=1, time=0, id="e", state="running", score=0.5)
    assert to_row(running) is None


def test_an_evaluation_has_the_step_of_its_weights_and_the_score_against_each_opponent() -> None:
    matches = [
        {"agent": "new", "opponent": "random", "score": 1.0},
        {"agent": "new", "opponent": "material", "score": 0.5},
        {"agent": "old", "opponent": "material", "score": 0.1},
    ]
    result = {"agent": "new", "score": 0.75, "interval": [0.6, 0.9], "elo": None, "games": 4}
    row = evaluation_row(FIELDS | {"result": result | {"matches": matches}})
    assert (row.step, row.evaluation) == (900, "e")
    assert row.values == {
        "eval/step": 700,
        "eval/score": 0.75,
        "eval/score_low": 0.6,
        "eval/score_high": 0.9,
        "eval/games": 4,
        "eval/score_against/random": 1.0,
        "eval/score_against/material": 0.5,
    }


def test_a_test_for_promotion_does_not_change_the_newest_score() -> None:
    row = evaluation_row(FIELDS | {"spec": {"promote": True}, "result": {"score": 0.5}})
    assert row.values == {"eval/step": 700, "eval/promotion/score": 0.5}
