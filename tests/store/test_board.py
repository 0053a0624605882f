"""The newest board of a run, in a file that is replaced and never half written."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from keisei.events import Board
from keisei.store.board import read_board, write_board

BOARD = Board(
    run="r", step=3, time=1.5, game=7, sfen="9/9/9/9/9/9/9/9/9 b - 1", last_move="7g7f", ply=1,
    value=0.25, top_moves=(("3c3d", 0.5), ("8c8d", 0.25)),
)  # fmt: skip


def test_a_board_is_read_as_it_was_written_and_only_the_newest_stays(tmp_path: Path) -> None:
    assert read_board(tmp_path) is None
    write_board(tmp_path, BOARD)
    write_board(tmp_path, replace(BOARD, ply=2))
    assert read_board(tmp_path) == replace(BOARD, ply=2)
    assert [path.name for path in tmp_path.iterdir()] == ["board.json"]


def test_a_value_that_is_not_finite_is_unknown(tmp_path: Path) -> None:
    write_board(tmp_path, replace(BOARD, value=math.nan))
    found = read_board(tmp_path)
    assert found
    assert found.value is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"top_moves": 1}', '{"top_moves": [[1]]}'])
def test_a_damaged_board_is_no_board(tmp_path: Path, text: str) -> None:
    (tmp_path / "board.json").write_text(text)
    assert read_board(tmp_path) is None


def test_a_board_of_a_newer_version_is_no_board(tmp_path: Path) -> None:
    write_board(tmp_path, BOARD)
    file = tmp_path / "board.json"
    file.write_text(
        file.read_text().replace('"format":1', '"format":2').replace('"format": 1', '"format": 2')
    )
    assert read_board(tmp_path) is None
