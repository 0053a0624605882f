"""The shortest forced mate of a position."""

from keisei.shogi import Position
from keisei.shogi.proof import shortest_mate

MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1"


def test_a_mate_in_one_is_found_with_its_length() -> None:
    for most in (1, 2, 3):
        mate = shortest_mate(Position(MATE_IN_ONE), most)
        assert mate is not None
        assert mate.moves == 1
        after = Position(MATE_IN_ONE)
        after.push(mate.move)
        outcome = after.outcome()
        assert outcome is not None
        assert (outcome.reason, outcome.winner) == ("checkmate", "black")


def test_no_mate_is_found_where_there_is_none_or_where_none_is_wanted() -> None:
    assert shortest_mate(Position(), 3) is None
    assert shortest_mate(Position(MATE_IN_ONE), 0) is None
