"""The scripted games of the fake run."""

import random

from rsshogi.core import Board as RulesBoard

from keisei.shogi import Position
from keisei.testing.games import made_up_boards, made_up_move, scripted_game


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


def test_a_made_up_move_is_legal_and_there_is_none_after_mate() -> None:
    chance = random.Random(1)
    assert made_up_move(Position(), chance).move in Position().legal_moves()
    assert made_up_move(Position("4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1"), chance).usi is None
    entered = Position("LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1")
    assert made_up_move(entered, chance).usi == "win"
