"""Moves in Japanese notation."""

from keisei.records.notation import in_japanese
from keisei.shogi import START_SFEN


def test_moves_are_written_as_in_ki2_records() -> None:
    moves = ["7g7f", "3c3d", "8h2b+", "3a2b", "B*4e"]
    assert in_japanese(START_SFEN, moves) == "▲７六歩 △３四歩 ▲２二角成 △同　銀 ▲４五角"
    assert in_japanese(START_SFEN, []) == ""
