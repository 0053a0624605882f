"""Start positions of records."""

from collections import Counter

import pytest

from keisei.records.start import HANDICAPS, StartPosition, is_row, read_hand, read_rows
from keisei.shogi import START_SFEN, Position

MIDDLE = "sn4p1+B/l1g2p3/p1p2Ps+P1/4p4/PpP1Pk2g/2Sp2P2/L1NG2+nG1/R2P1S2+b/2LK3N+p w RL3p 1"
EMPTY = "| ・ ・ ・ ・ ・ ・ ・ ・ ・|"
ROWS = ["| ・ ・ ・ ・v玉 ・ ・ ・ ・|一", "| ・ ・v龍 ・ ・ 成 ・ ・ ・|二", *[EMPTY] * 7]


@pytest.mark.parametrize("sfen", [START_SFEN, MIDDLE, *HANDICAPS.values()])
def test_a_start_is_written_as_it_was_read(sfen: str) -> None:
    assert StartPosition.read(sfen).sfen() == sfen


def test_the_even_start_is_the_usual_one_and_each_has_its_own_board() -> None:
    start = StartPosition.even()
    assert start.sfen() == START_SFEN
    del start.board["8b"]
    assert start.sfen() == START_SFEN.replace("1r5b1", "7b1")
    assert StartPosition.even().sfen() == START_SFEN


def test_an_empty_start_has_neither_pieces_nor_hands() -> None:
    assert StartPosition().sfen() == "9/9/9/9/9/9/9/9/9 b - 1"


def test_a_start_is_put_together_from_board_hands_and_side() -> None:
    start = StartPosition()
    start.board |= {"5a": "k", "5i": "K", "1a": "+R"}
    start.hands.update({"P": 12, "r": 1, "G": 2})
    start.white_to_move = True
    assert start.sfen() == "4k3+R/9/9/9/9/9/9/9/4K4 w 2G12Pr 1"


@pytest.mark.parametrize(("white", "hands"), [(True, "Gr2b3g4s4n4l17p"), (False, "R2B4G4S4N4L17P")])
def test_the_rest_of_a_set_goes_to_one_hand(white: bool, hands: str) -> None:
    """A rook and a promoted pawn are on the board, a gold is in black's hand; kings stay out."""
    start = StartPosition()
    start.board |= {"5a": "k", "1a": "R", "2a": "+p"}
    start.hands["G"] = 1
    start.give_rest(white=white)
    assert start.sfen().split()[2] == hands


@pytest.mark.parametrize(("name", "sfen"), HANDICAPS.items())
def test_a_handicap_is_a_position_without_some_of_whites_pieces(name: str, sfen: str) -> None:
    position = Position(sfen)
    assert position.side == ("black" if name == "平手" else "white")
    missing = {"平手": 0, "飛香落ち": 2}.get(name, 1)
    if "枚" in name:
        missing = "〇一二三四五六七八九十".index(name[name.index("枚") - 1])
    board, _, _ = START_SFEN.partition(" ")
    found, _, _ = sfen.partition(" ")
    assert sum(letter.islower() for letter in found) == 20 - missing
    assert found.split("/")[2:] == board.split("/")[2:]


@pytest.mark.parametrize("line", [ROWS[0], EMPTY, f"  {EMPTY}", "| broken", EMPTY.replace("|", "")])
def test_a_rank_of_a_diagram_is_recognised_even_if_it_is_broken(line: str) -> None:
    assert is_row(line)


@pytest.mark.parametrize("line", ["", "手合割：平手", "９ ８ ７ ６ ５ ４ ３ ２ １", "７六歩(77)"])
def test_other_lines_are_not_ranks(line: str) -> None:
    assert not is_row(line)


def test_a_diagram_becomes_a_board() -> None:
    rows = [row.replace("成", "と") for row in ROWS]
    rows[8] = "|V杏 ・ ・ ・ 王 ・ ・ ・ 歩|九"
    found = read_rows(rows)
    assert found == {"5a": "k", "7b": "+r", "4b": "+P", "9i": "+l", "5i": "K", "1i": "P"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS, "the diagram's rank 2 is not understood"),
        ([ROWS[0].replace("一", "二"), *[EMPTY] * 8], "the diagram's rank 1 is not understood"),
        ([EMPTY] * 8, "the diagram has 8 ranks, not 9"),
    ],
)
def test_a_diagram_that_is_not_understood_is_refused(rows: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_rows(rows)


@pytest.mark.parametrize(
    ("text", "hand"),
    [
        ("", {}),
        ("なし", {}),
        ("　金　歩十二　", {"G": 1, "P": 12}),
        ("飛 角二 銀3 香４", {"R": 1, "B": 2, "S": 3, "L": 4}),
        ("歩十 桂一", {"P": 10, "N": 1}),
        ("歩十八", {"P": 18}),
    ],
)
def test_a_hand_is_read_with_its_numbers(text: str, hand: dict[str, int]) -> None:
    assert read_hand(text) == Counter(hand)


@pytest.mark.parametrize("text", ["猫", "歩二三", "と", "玉", "金 x"])
def test_a_hand_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a hand of the diagram is not understood"):
        read_hand(text)
