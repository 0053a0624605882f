"""Rows of a run's database become game records."""

from typing import Any

from keisei.records.stored import (
    evaluation_game,
    evaluation_name,
    played_game,
    self_play_game,
    self_play_name,
)

ROW: dict[str, Any] = {
    "id": 7, "step": 1, "time": 2.0, "result": "black", "reason": "resignation", "plies": 1,
    "black": "self", "white": "random",
}  # fmt: skip


def test_a_self_play_game_has_the_start_and_the_moves_of_its_record() -> None:
    start = "sfen 4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
    row = {**ROW, "record": f"{start} moves G*5b"}
    game = self_play_game(row)
    assert (game.start, list(game.moves)) == (start, ["G*5b"])
    assert (game.event, self_play_name(row)) == ("self-play, game 7", "self-play-00000007")


def test_an_evaluation_game_has_values_and_a_name_that_any_disk_accepts() -> None:
    row = {
        **ROW, "evaluation": 'é/1"', "number": 12, "start": "startpos", "moves": "7g7f",
        "values": [0.5],
    }  # fmt: skip
    game = evaluation_game(row)
    assert (game.start, list(game.moves), game.values) == ("startpos", ["7g7f"], [0.5])
    assert game.black == "self"
    assert evaluation_name(row) == "__1_-0012"


def test_a_game_of_a_person_is_not_called_a_game_of_an_evaluation() -> None:
    row = {
        **ROW, "evaluation": "play", "number": 3, "start": "startpos", "moves": "7g7f", "values": [],
    }  # fmt: skip
    assert (played_game(row).event, evaluation_name(row)) == ("play, game 3", "play-0003")
