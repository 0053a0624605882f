"""What the rules refuse."""


class SfenError(ValueError):
    """The text is no SFEN of a shogi position. The message says what is wrong and where."""


class IllegalMoveError(ValueError):
    """The text is no legal USI move in this position. The message names the move and the reason."""
