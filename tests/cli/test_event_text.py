"""Events and metrics in words."""

import math

import pytest

from keisei.cli import event_text
from keisei.events import Evaluation


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.9, "0:59"), (245, "4:05"), (3845, "1:04:05"), (176645, "2 d 1:04:05")],
)
def test_a_duration_reads_like_a_clock(seconds: float, text: str) -> None:
    assert event_text.duration(seconds) == text


def test_numbers_that_are_not_known_are_left_out() -> None:
    values = {"train/loss_policy": math.nan, "train/entropy": 3.664}
    assert event_text.figures(values) == ["entropy 3.66"]
    assert event_text.speed({"speed/steps_per_second": 1904.4}) == ["1,904 steps/s"]


def evaluation(**more: object) -> str:
    fields = {"run": "r", "step": 1, "time": 0.0, "id": "1", "opponent": "random"} | more
    return event_text.evaluation(Evaluation(**fields))  # type: ignore[arg-type]


def test_an_evaluation_tells_its_score_and_progress() -> None:
    assert evaluation() == "evaluation against random: queued"
    assert evaluation(state="running", progress=0.25) == "evaluation against random: running 25%"
    done = evaluation(state="done", score=0.8125, interval=(0.7, 0.9))
    assert done == "evaluation against random: score 0.812 (0.700 to 0.900)"


def test_the_name_of_an_opponent_cannot_move_the_cursor() -> None:
    assert "\x1b" not in evaluation(opponent="a\x1b[2J")
