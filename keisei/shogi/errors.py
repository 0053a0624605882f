"""Exceptions of the rules: one for a bad SFEN, one for an illegal move."""


class SfenError(ValueError):
    """Raised if a text is not a valid SFEN. The message describes the mistake."""


class IllegalMoveError(ValueError):
    """Raised if a move is not legal in a position. The message names the move and the reason."""
