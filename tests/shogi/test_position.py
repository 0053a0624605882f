"""Position: the rules as people and programs see them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keisei.shogi import START_SFEN, IllegalMoveError, Outcome, Position, SfenError

MATED = "4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1"
STALEMATED = "4k4/9/9/9/9/1n7/1l7/9/K8 b - 1"


def test_a_new_position_is_the_usual_start() -> None:
    position = Position()
    assert len(position.legal_moves()) == 30
    assert position.legal_moves() == sorted(position.legal_moves())
    assert (position.side, position.ply, position.in_check) == ("black", 0, False)
    assert position.sfen() == Position("startpos").sfen() == START_SFEN
    assert position.outcome() is None


def test_push_makes_a_move_and_counts_it() -> None:
    position = Position()
    for move in ("7g7f", "3c3d", "8h2b+"):
        position.push(move)
    assert position.sfen() == ("lnsgkgsnl/1r5+B1/pppppp1pp/6p2/9/2P6/PP1PPPPPP/7R1/LNSGKGSNL w B 4")
    assert (position.side, position.ply) == ("white", 3)


def test_the_move_number_continues_that_of_the_sfen() -> None:
    position = Position(START_SFEN.replace(" 1", " 41"))
    position.push("7g7f")
    assert position.sfen().endswith(" 42")
    assert position.ply == 1


def test_the_side_without_a_legal_move_loses() -> None:
    assert Position(MATED).outcome() == Outcome("checkmate", "black")
    assert Position(MATED).legal_moves() == []
    assert Position(STALEMATED).outcome() == Outcome("no_moves", "white")


def test_long_games_keep_their_history() -> None:
    """The game has more plies than the history first has room for; its first position is kept."""
    position = Position("4k4/9/9/9/9/9/9/9/R3K4 b - 1")
    for _ in range(40):
        for move in ("9i9h", "5a5b", "9h9i", "5b5a"):
            position.push(move)
    assert position.ply == 160
    assert position.occurrences == 41


def test_a_copy_is_independent() -> None:
    position = Position()
    twin = position.copy()
    twin.push("7g7f")
    assert position.sfen() == START_SFEN
    assert position.legal_moves() != twin.legal_moves()


def test_a_position_prints_its_board_and_hands() -> None:
    position = Position("4k4/9/9/9/4+P4/9/9/9/4K4 w R2p 8")
    shown = str(position)
    assert "| .  .  .  . +P  .  .  .  . | e" in shown
    assert "White in hand: P2" in shown
    assert "Black in hand: R" in shown
    assert shown.endswith("Move 8, white to move")
    assert repr(position) == "Position('4k4/9/9/9/4+P4/9/9/9/4K4 w R2p 8')"


def test_a_king_that_can_be_captured_is_refused() -> None:
    with pytest.raises(SfenError, match="white's king is in check but it is not white's move"):
        Position("4k4/9/9/9/4R4/9/9/9/4K4 b - 1")


@pytest.mark.parametrize(
    ("sfen", "move", "says"),
    [
        ("startpos", "7g7", "looks like"),
        ("startpos", "7g7e", "the P on 7g does not reach 7e"),
        ("startpos", "5e5d", "5e is empty"),
        ("startpos", "3c3d", "the piece on 3c is white's"),
        ("startpos", "P*5e", "black has no P in hand"),
        ("startpos", "7g7f+", "it cannot promote"),
        ("4k4/P8/9/9/9/9/9/9/4K4 b - 1", "9b9a", "it must promote"),
        ("4k4/9/9/9/9/9/4P4/9/4K4 b P 1", "P*5e", "already has a pawn on file 5"),
        ("4k4/9/9/9/9/9/9/9/4K4 b N 1", "N*1b", "could never move"),
        ("4k4/9/9/9/9/9/9/9/4K4 w p 1", "P*1i", "could never move"),
        ("4k4/9/9/9/9/9/9/9/4K4 b P 1", "P*5i", "5i is not empty"),
        ("8k/9/6NG1/9/9/9/9/9/4K4 b P 1", "P*1b", "a pawn drop may not give mate"),
        ("4k4/9/9/9/4r4/9/9/9/4K4 b P 1", "P*1e", "black is in check"),
        ("4k4/9/9/9/4r4/9/9/4G4/4K4 b - 1", "5h6h", "would leave black's king in check"),
    ],
)
def test_an_illegal_move_is_refused_with_the_reason(sfen: str, move: str, says: str) -> None:
    position = Position(sfen)
    before = position.sfen()
    with pytest.raises(IllegalMoveError, match=re.escape(says)) as caught:
        position.push(move)
    assert str(caught.value).startswith(f"{move} is not legal here: ")
    assert position.sfen() == before


def test_an_illegal_action_is_refused() -> None:
    for action in (-1, 0, 2187):
        with pytest.raises(IllegalMoveError, match=f"action {action} "):
            Position().usi(action)


def test_an_unknown_declaration_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="'28'"):
        Position().declaration("28")  # type: ignore[arg-type]


SFEN_TEXT = st.one_of(
    st.text(),
    st.text(alphabet="PLNSGBRKplnsgbrk+123456789/ bw-", max_size=90),
    st.builds(
        lambda rows, side, hands, number: f"{'/'.join(rows)} {side} {hands} {number}",
        st.lists(
            st.text(alphabet="PLNSGBRKplnsgbrk+1234567899", max_size=6), min_size=9, max_size=9
        ),
        st.sampled_from("bw"),
        st.text(alphabet="RBGSNLPrbgsnlp123456789", max_size=8),
        st.integers(-3, 2000),
    ),
)


@given(SFEN_TEXT)
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_position_or_an_sfen_error(text: str) -> None:
    try:
        position = Position(text)
    except SfenError:
        return
    assert Position(position.sfen()).sfen() == position.sfen()


@given(st.one_of(st.text(max_size=8), st.from_regex(r"[1-9][a-i][1-9][a-i]\+?|[A-Z]\*[1-9][a-i]")))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_legal_move_or_refused(text: str) -> None:
    position = Position("lnsgk2nl/1r4gs1/p1pppp1pp/6p2/1P5P1/2P6/P2PPPP1P/1SG4R1/LN2KGSNL w Bb 2")
    if text in position.legal_moves():
        position.push(text)
        assert position.ply == 1
    else:
        with pytest.raises(IllegalMoveError):
            position.push(text)


@given(st.lists(st.integers(0, 2**31), max_size=60))
@settings(max_examples=60, deadline=None)
def test_play_keeps_all_pieces_and_its_sfen_reads_back(choices: list[int]) -> None:
    """Any game has 40 pieces, one action a move, and an SFEN that reads back the same."""
    position = Position()
    for choice in choices:
        moves = position.legal_moves()
        if not moves:
            break
        actions = {position.action(move) for move in moves}
        assert len(actions) == len(moves)
        position.push(moves[choice % len(moves)])
        board, _, hands, _ = position.sfen().split()
        in_hand = sum(int(n or 1) for n, _ in re.findall(r"(\d*)([a-zA-Z])", hands))
        assert len(re.findall("[a-zA-Z]", board)) + in_hand == 40
        again = Position(position.sfen())  # refuses a king that can be taken
        assert again.legal_moves() == position.legal_moves()
        assert again.in_check == position.in_check
