"""The moves of one game, checked while they are read."""

import pytest

from keisei.records.ends import ILLEGAL_MOVE, UNKNOWN, End, read_end
from keisei.records.moves import Moves
from keisei.shogi import START_SFEN

RESIGN = read_end("resign")


def pushed(*moves: str, start: str = START_SFEN) -> Moves:
    game = Moves(start, "taken from the test")
    for move in moves:
        game.push(move)
    return game


def test_a_game_has_its_start_moves_winner_and_reason() -> None:
    found = pushed("7g7f", "3c3d").record(RESIGN, "a.usi:1")
    assert (found.start, found.moves) == (START_SFEN, ("7g7f", "3c3d"))
    assert (found.winner, found.reason, found.source) == ("white", "resign", "a.usi:1")


def test_the_start_keeps_its_move_number() -> None:
    assert pushed("2g2f", start="4k4/9/9/9/9/9/7P1/9/4K4 b - 57").start.endswith(" b - 57")
    assert pushed(start=START_SFEN.removesuffix(" 1")).start == START_SFEN


def test_a_start_that_is_not_a_position_is_refused() -> None:
    with pytest.raises(ValueError, match="board has 1 ranks"):
        Moves("9 b - 1", "taken from the test")


def test_the_board_follows_the_moves() -> None:
    """With a capture, a promotion and a drop."""
    game = pushed("7g7f", "3c3d", "8h2b+")
    assert len(game) == 3
    assert game.white_to_move
    assert (game.piece("2b"), game.piece("8h"), game.piece("3d")) == ("+B", "", "p")
    assert (game.own("S"), game.own("+P")) == ("s", "+p")
    game.push("3a2b")
    assert game.piece("2b") == "s"
    assert not game.white_to_move
    assert game.own("S") == "S"
    game.push("B*4e")
    assert game.piece("4e") == "B"


def test_movers_are_the_pieces_that_can_legally_go_there() -> None:
    game = pushed()
    assert sorted(game.movers("G", "5h", "")) == ["4i", "6i"]
    assert game.movers("P", "7f", "") == ["7g"]
    assert game.movers("P", "7e", "") == []
    pinned = pushed(start="4k4/9/9/9/4r4/9/9/4G4/4K4 b - 1")
    assert pinned.movers("G", "6h", "") == []
    assert pinned.movers("G", "5g", "") == ["5h"]
    promoting = pushed(start="4k4/9/9/2P6/9/9/9/9/4K4 b - 1")
    assert promoting.movers("P", "7c", "+") == ["7d"]


@pytest.mark.parametrize("end", [UNKNOWN, RESIGN, End("timeout", "other")])
def test_an_illegal_move_refuses_the_game(end: End) -> None:
    game = pushed("7g7f", "3c3e")
    assert len(game) == 1
    with pytest.raises(ValueError, match="ply 2: 3c3e is not legal"):
        game.record(end, "a.usi:1")


@pytest.mark.parametrize(
    ("by", "winner"),
    [("mover", "black"), ("other", "black"), ("black", "black"), ("white", "white"), (None, None)],
)
def test_a_game_that_ended_by_its_illegal_move_keeps_the_moves_before(
    by: str | None, winner: str | None
) -> None:
    """White made the illegal move; only a colour in the record says otherwise."""
    end = End(ILLEGAL_MOVE, by)  # type: ignore[arg-type]
    found = pushed("7g7f", "3c3e").record(end, "a.usi:1")
    assert (found.moves, found.winner, found.reason) == (("7g7f",), winner, ILLEGAL_MOVE)


def test_no_move_may_follow_an_illegal_one() -> None:
    game = pushed("7g7f", "3c3e")
    with pytest.raises(ValueError, match="ply 2: 3c3e is not legal"):
        game.push("3c3d")
    with pytest.raises(ValueError, match="ply 2: 3c3e is not legal"):
        game.refuse("3c3f", "not legal")


def test_the_message_names_the_start_only_for_the_first_move() -> None:
    hint = "; if the move is right, the start position is wrong: taken from the test"
    for game, named in ((pushed("3c3d"), True), (pushed("7g7f", "7f7e"), False)):
        with pytest.raises(ValueError, match="is not legal") as caught:
            game.record(UNKNOWN, "a.usi:1")
        assert str(caught.value).endswith(hint) == named


def test_a_game_without_a_move_is_refused() -> None:
    with pytest.raises(ValueError, match="no moves"):
        pushed().record(RESIGN, "a.usi:1")
    with pytest.raises(ValueError, match="ply 1: 3c3d is not legal"):
        pushed("3c3d").record(End(ILLEGAL_MOVE, "other"), "a.usi:1")
