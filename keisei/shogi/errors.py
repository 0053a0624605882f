"""Errors of the rules: a bad SFEN, an illegal move."""


class SfenError(ValueError):
    """A text is not an SFEN of a shogi position. The message says what is wrong and where."""


class IllegalMoveError(ValueError):
    """A move is not legal in a position. The message names the move and the reason."""
