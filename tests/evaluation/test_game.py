"""Openings are replayed when they are read; ended games know their seats, points and moves."""

import numpy as np
import pytest

from keisei.evaluation import PlayedGame
from keisei.evaluation.game import Opening, Result, write_line
from keisei.shogi import IllegalMoveError, Position

SFEN = "sfen 4k4/9/4P4/9/9/9/9/9/4K4 b G 1"


def test_an_opening_holds_its_start_and_its_moves() -> None:
    position = Position()
    opening = Opening.read("startpos moves 7g7f 3c3d")
    assert opening.start == "startpos"
    assert [position.play(action) for action in opening.actions] == ["7g7f", "3c3d"]
    assert Opening.read("startpos") == Opening()
    assert Opening.read(f"position {SFEN}").start == SFEN


def test_an_opening_with_an_illegal_move_is_refused() -> None:
    with pytest.raises(IllegalMoveError):
        Opening.read("startpos moves 7g7f 7g7f")


@pytest.mark.parametrize(
    ("number", "result", "points"),
    [
        (4, "black", 1), (4, "white", 0), (5, "black", 0), (5, "white", 1),
        (4, "draw", 0.5), (5, "capped", 0.5),
    ],
)  # fmt: skip
def test_points_are_the_agents_who_is_black_in_the_first_game_of_a_pair(
    number: int, result: Result, points: float
) -> None:
    line = "startpos moves 7g7f 3c3d"
    actions = np.array(Opening.read(line).actions, np.int16)
    game = PlayedGame(number, result, "checkmate", "startpos", actions, np.zeros(2, np.float32))
    assert (game.pair, game.agent, game.points) == (2, "white" if number % 2 else "black", points)
    assert (game.plies, game.moves(), game.record()) == (2, ["7g7f", "3c3d"], line)


def test_a_start_without_moves_is_a_line_without_moves() -> None:
    assert write_line(SFEN, []) == SFEN
