"""The rules of shogi: the class ``Position``, and the compiled kernels for many games at once.

``keisei.shogi.kernels`` contains all compiled code. At the first call of a function there, Numba
compiles the function or loads the compiled code from a cache on disk.
"""

from keisei.shogi.errors import IllegalMoveError, SfenError
from keisei.shogi.position import Outcome, Position
from keisei.shogi.sfen import START_SFEN
from keisei.shogi.solver import MateSearch, Solution, solve_mate

__all__ = [
    "START_SFEN",
    "IllegalMoveError",
    "MateSearch",
    "Outcome",
    "Position",
    "SfenError",
    "Solution",
    "solve_mate",
]
