"""Counts of ended self-play games."""

import json
import math

import numpy as np
import pytest

from keisei.env import Reason, StepResult
from keisei.ppo.tally import WINDOW, Tally


def step(*ends: tuple[Reason, int, int]) -> StepResult:
    """Return a step in which one game goes on; the others end with (reason, winner, plies)."""
    reason, winner, plies = (np.array([0, *column]) for column in zip(*ends, strict=True))
    cut = reason == Reason.MAX_PLY
    return StepResult(
        reward=np.zeros(len(reason), np.float32),
        terminated=(reason != Reason.NONE) & ~cut,
        truncated=cut,
        reason=reason.astype(np.uint8),
        winner=winner.astype(np.int8),
        plies=plies.astype(np.int16),
        number=np.arange(len(reason), dtype=np.int64),
        final_observation=np.zeros((len(reason), 131), np.uint8),
    )


GAMES = step(
    (Reason.CHECKMATE, 1, 70),
    (Reason.CHECKMATE, 1, 90),
    (Reason.DECLARATION, -1, 140),
    (Reason.REPETITION, 0, 60),
    (Reason.MAX_PLY, 0, 256),
)


def test_shares_and_means_are_over_all_ended_games() -> None:
    tally = Tally()
    tally.begin()
    tally.add(GAMES)
    values = tally.values()
    assert values["games/ended"] == 5
    assert values["games/length"] == (70 + 90 + 140 + 60 + 256) / 5
    assert values["games/decisive"] == 3 / 5
    assert (values["games/black_wins"], values["games/white_wins"]) == (2, 1)
    assert values["games/checkmate"] == 2 / 5
    assert values["games/declaration"] == values["games/truncated"] == 1 / 5


def test_black_scores_half_a_point_in_a_game_without_a_winner() -> None:
    tally = Tally()
    tally.begin()
    tally.add(GAMES)
    assert tally.values()["games/black_score"] == (2 + 2 / 2) / 5


def test_games_of_the_last_iterations_are_counted() -> None:
    tally = Tally()
    for _ in range(WINDOW + 3):
        tally.begin()
        tally.add(GAMES)
    assert tally.values()["games/ended"] == 5 * WINDOW


def test_shares_are_unknown_while_no_game_has_ended() -> None:
    tally = Tally()
    tally.begin()
    tally.add(step((Reason.NONE, 0, 0)))
    values = tally.values()
    assert values["games/ended"] == values["games/black_wins"] == 0
    assert math.isnan(values["games/black_score"])
    assert math.isnan(values["games/truncated"])


def test_counts_continue_from_their_state() -> None:
    first, second = Tally(), Tally()
    first.begin()
    first.add(GAMES)
    second.load_state(json.loads(json.dumps(first.state())))
    for tally in (first, second):
        tally.begin()
        tally.add(GAMES)
    assert first.values() == pytest.approx(second.values(), abs=0)
