"""SFENs that are read and written."""

import re

import numpy as np
import pytest

from keisei.shogi import START_SFEN, SfenError
from keisei.shogi.sfen import name, read_sfen, square_name, turned, write_sfen

MIDDLE = "sn4p1+B/l1g2p3/p1p2Ps+P1/4p4/PpP1Pk2g/2Sp2P2/L1NG2+nG1/R2P1S2+b/2LK3N+p w RL3p 122"


@pytest.mark.parametrize(
    "sfen",
    [START_SFEN, MIDDLE, "4k4/9/9/9/9/9/9/9/4K4 b 2R2B4G4S4N4L18P 7", "9/9/9/9/9/9/9/9/9 w - 1"],
)
def test_an_sfen_is_written_as_it_was_read(sfen: str) -> None:
    games, number = read_sfen(sfen)
    assert write_sfen(games[0], number) == sfen


def test_the_record_holds_the_view_of_the_side_to_move() -> None:
    """White's king on 5a, black's on 5i, a pawn on 5g; white sees its king at the bottom."""
    black = read_sfen("4k4/9/9/9/9/9/4P4/9/4K4 b R2p 1")[0][0]
    assert (black["side"], black["board"][44], black["board"][36], black["board"][42]) == (
        0,
        8,
        22,
        1,
    )
    assert black["hands"].tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0]
    white = read_sfen("4k4/9/9/9/9/9/4P4/9/4K4 w R2p 1")[0][0]
    assert (white["side"], white["board"][44], white["board"][36], white["board"][38]) == (
        1,
        8,
        22,
        15,
    )
    assert white["hands"].tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    np.testing.assert_array_equal(white["board"], turned(black["board"]))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("startpos", 1),
        (" startpos\n", 1),
        (START_SFEN.removesuffix(" 1"), 1),
        (f"sfen {START_SFEN}", 1),
        (START_SFEN.replace(" 1", " 0"), 1),
        (START_SFEN.replace(" 1", " 999999"), 999_999),
    ],
)
def test_the_start_may_be_written_in_several_ways(text: str, number: int) -> None:
    games, found = read_sfen(text)
    assert found == number
    assert write_sfen(games[0], 1) == START_SFEN


@pytest.mark.parametrize(
    ("sfen", "says"),
    [
        ("", "an SFEN has 3 fields (board, side, hands) or 4 (plus move number), not 0"),
        ("lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1 b - 1", "8 ranks"),
        ("lnsgkgsnl/1r5b1/pppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1", "rank 3 has 10 sq"),
        ("lnsgkgsnl/1r5b1/ppppppppp/9/8/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1", "rank 5 has 8 sq"),
        ("lnsgkgsnl/1r5b1/ppppxpppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1", "rank 3: 'x'"),
        ("4k4/9/9/9/4+G4/9/9/9/4K4 b - 1", "rank 5: '+G'"),
        ("4k4/9/9/9/8+/9/9/9/4K4 b - 1", "rank 5 ends in '+'"),
        (START_SFEN.replace(" b ", " x "), "'x', not 'b' or 'w'"),
        (START_SFEN.replace(" - ", " Q "), "hands: cannot read 'Q'"),
        (START_SFEN.replace(" - ", " P2P "), "'P' occurs twice"),
        (START_SFEN.replace(" - ", " P "), "19 P"),
        (START_SFEN.replace(" 1", " one"), "move number is 'one'"),
        ("4k4/9/9/9/4K4/9/9/9/4K4 b - 1", "3 K"),
        ("9/9/9/9/4K4/9/9/9/4K4 b - 1", "black has 2 kings"),
        ("4k4/9/9/4P4/4P4/9/9/9/4K4 b - 1", "black has 2 pawns on file 5"),
        ("4k4/9/p8/p8/9/9/9/9/4K4 b - 1", "white has 2 pawns on file 9"),
    ],
)
def test_a_bad_sfen_is_refused_with_what_and_where(sfen: str, says: str) -> None:
    with pytest.raises(SfenError, match=re.escape(says)):
        read_sfen(sfen)


def test_turning_a_board_twice_gives_it_back() -> None:
    board = read_sfen(MIDDLE)[0][0]["board"]
    assert (turned(board) != board).any()
    np.testing.assert_array_equal(turned(turned(board)), board)


@pytest.mark.parametrize(
    ("code", "letters"),
    [(1, "P"), (8, "K"), (9, "+P"), (14, "+R"), (15, "p"), (23, "+p"), (28, "+r")],
)
def test_a_piece_code_has_the_letters_of_sfen(code: int, letters: str) -> None:
    assert name(code) == letters


@pytest.mark.parametrize(
    ("square", "white", "usi"),
    [(0, False, "1a"), (8, False, "1i"), (60, False, "7g"), (60, True, "3c"), (0, True, "9i")],
)
def test_a_square_is_named_in_the_view_of_either_side(square: int, white: bool, usi: str) -> None:
    assert square_name(square, white) == usi
