"""The errors of the rules."""

from keisei.shogi import IllegalMoveError, SfenError


def test_both_errors_are_value_errors() -> None:
    assert issubclass(SfenError, ValueError)
    assert issubclass(IllegalMoveError, ValueError)
