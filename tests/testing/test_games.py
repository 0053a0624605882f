"""The scripted games of the fake run."""

import random

from rsshogi.core import Board as RulesBoard

from keisei.testing.games import made_up_boards, scripted_game


def test_the_scripted_games_are_legal_and_always_the_same() -> None:
    positions = list(scripted_game(3))
    assert positions == list(scripted_game(3))
    assert positions != list(scripted_game(4))
    board = RulesBoard()
    for sfen, move in positions[1:]:
        board.apply_usi(move)
        assert board.to_sfen() == sfen


def test_a_board_shows_legal_moves_and_the_likeliest_comes_first() -> None:
    fields = next(made_up_boards(1, random.Random(0)))
    board = RulesBoard()
    assert (fields["sfen"], fields["last_move"], fields["ply"]) == (board.to_sfen(), None, 0)
    moves = [usi for usi, _ in fields["top_moves"]]
    shares = [share for _, share in fields["top_moves"]]
    assert len(set(moves)) == 5
    assert set(moves) <= {move.to_usi() for move in board.legal_moves()}
    assert shares == sorted(shares, reverse=True)
