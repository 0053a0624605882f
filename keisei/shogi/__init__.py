"""The rules of shogi: ``Position`` for people and programs, and the compiled kernels.

``keisei.shogi.kernels`` contains all compiled code. A function is compiled at its first call.
"""

from keisei.shogi.errors import IllegalMoveError, SfenError
from keisei.shogi.position import Outcome, Position
from keisei.shogi.sfen import START_SFEN

__all__ = ["START_SFEN", "IllegalMoveError", "Outcome", "Position", "SfenError"]
