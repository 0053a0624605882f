"""Writes moves in Japanese notation, as in KI2 records."""

from collections.abc import Iterable

from rsshogi.core import Board, Move


def in_japanese(sfen: str, moves: Iterable[str]) -> str:
    """Return legal USI moves from the position ``sfen`` as text such as ``▲７六歩 △３四歩``."""
    board, words = Board(sfen), list[str]()
    for usi in moves:
        move = Move.from_usi(usi)
        words.append(str(move.to_ki2(board)))
        board.push_move(move)
    return " ".join(words)
