"""The rules of shogi: ``Position`` for people and programs, compiled kernels below it.

``keisei.shogi.kernels`` holds everything compiled; nothing is compiled before the first use.
"""

from keisei.shogi.errors import IllegalMoveError, SfenError
from keisei.shogi.position import Outcome, Position
from keisei.shogi.sfen import START_SFEN

__all__ = ["START_SFEN", "IllegalMoveError", "Outcome", "Position", "SfenError"]
