"""Results are counted from the games and become plain data."""

import numpy as np

from keisei.evaluation import PlayedGame, tally
from keisei.evaluation.game import Result


def played(number: int, result: Result, reason: str) -> PlayedGame:
    return PlayedGame(number, result, reason, "startpos", np.zeros(2, np.int16), np.zeros(2))


def test_games_are_counted_for_the_agent_in_either_seat() -> None:
    result = tally([
        played(0, "black", "checkmate"), played(1, "black", "checkmate"),
        played(2, "draw", "repetition"), played(3, "white", "resignation"),
    ])  # fmt: skip
    assert (result.games, result.wins, result.losses, result.draws, result.capped) == (
        4,
        2,
        1,
        1,
        0,
    )
    assert result.score == 2.5 / 4
    assert result.by_reason == {
        "wins": {"checkmate": 1, "resignation": 1},
        "losses": {"checkmate": 1},
        "draws": {"repetition": 1},
    }


def test_a_result_becomes_plain_data() -> None:
    result = tally([played(0, "capped", "max_ply"), played(1, "capped", "max_ply")])
    assert result.to_dict() == {
        "games": 2,
        "wins": 0,
        "draws": 0,
        "losses": 0,
        "capped": 2,
        "score": 0.5,
        "interval": list(result.interval),
        "by_reason": {"wins": {}, "losses": {}, "draws": {}},
    }
