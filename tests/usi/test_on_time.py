"""Whole games on a clock: no move comes too late, and none is illegal."""

import random
from collections.abc import Callable

import pytest
from clocked_game import match

from keisei.play.players import load
from keisei.shogi import Position


def random_mover(seed: int) -> Callable[[Position], str | None]:
    dice = random.Random(seed)
    return lambda position: dice.choice(position.legal_moves() or ["resign"])


def policy() -> Callable[[Position], str | None]:
    """The network that ships, which samples without search."""
    player = load("shipped", "cpu", seed=1)
    return lambda position: player.choose([position], greedy=False)[0].usi


def test_a_game_on_a_clock_is_played_in_time() -> None:
    report = match("shipped", 1, random_mover(3), byoyomi=500)
    assert (report.late, report.illegal) == ([], [])
    assert report.score == 1


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("games", "clock"),
    [
        (200, {"byoyomi": 200}),
        (20, {"main": 10_000, "bonus": 500}),
        (20, {"byoyomi": 200, "rough": 5}),
    ],
)
def test_many_games_are_played_in_time(games: int, clock: dict[str, int]) -> None:
    report = match("shipped", games, policy(), **clock)
    print(report)
    assert (report.late, report.illegal) == ([], [])
    assert report.score / games > 0.5
