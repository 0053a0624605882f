"""The shortest forced mate of a position."""

from keisei.shogi import Position
from keisei.shogi.proof import shortest_mate

MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1"
MATE_IN_THREE = "ln2g3l/2s1g2s1/5knS1/p5R1p/1ppp3n1/P3+p3P/2Rg3PL/4l4/g+b1K1s1N1 w BP8p 1"


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


def test_a_mate_in_three_is_found_if_three_moves_are_allowed() -> None:
    mate = shortest_mate(Position(MATE_IN_THREE), 3)
    assert mate is not None
    assert mate.moves == 3
    after = Position(MATE_IN_THREE)
    after.push(mate.move)
    for reply in after.legal_moves():
        line = after.copy()
        line.push(reply)
        assert line.mate() is not None
    assert shortest_mate(Position(MATE_IN_THREE), 2) is None


def test_no_mate_is_found_where_there_is_none_or_where_none_is_wanted() -> None:
    assert shortest_mate(Position(), 3) is None
    assert shortest_mate(Position(MATE_IN_ONE), 0) is None
