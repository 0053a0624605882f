"""The sets of attacked squares in the observation, against men moved one by one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.env import VectorEnv

KING = 8
# (files, ranks) as the owner sees them; rank - 1 is forward. P L N S B R G K +P +L +N +S +B +R
FORWARD, DIAGONALS = (0, -1), ((-1, -1), (1, -1), (-1, 1), (1, 1))
STRAIGHTS = (FORWARD, (0, 1), (-1, 0), (1, 0))
GOLD = (*STRAIGHTS, (-1, -1), (1, -1))
STEPS = {
    1: (FORWARD,), 3: ((-1, -2), (1, -2)), 4: (FORWARD, *DIAGONALS), 7: GOLD, 8: (*STRAIGHTS, *DIAGONALS),
    9: GOLD, 10: GOLD, 11: GOLD, 12: GOLD, 13: STRAIGHTS, 14: DIAGONALS,
}  # fmt: skip
SLIDES = {2: (FORWARD,), 5: DIAGONALS, 6: STRAIGHTS, 13: DIAGONALS, 14: STRAIGHTS}
Square = tuple[int, int]


def men(row: NDArray[np.uint8]) -> dict[Square, int]:
    """Piece codes by (file, rank): 1..14 the mover's, 15..28 the opponent's."""
    return {divmod(s, 9): int(code) for s, code in enumerate(row[:81]) if code}


def attacks(board: dict[Square, int], at: Square, *, through: Square | None = None) -> set[Square]:
    """Squares that the man at ``at`` attacks; its lines go on behind ``through``."""
    code = board[at]
    turn = 1 if code <= 14 else -1
    kind = code if code <= 14 else code - 14
    found = {(at[0] + f * turn, at[1] + r * turn) for f, r in STEPS.get(kind, ())}
    for f, r in SLIDES.get(kind, ()):
        for n in range(1, 9):
            square = at[0] + f * turn * n, at[1] + r * turn * n
            found.add(square)
            if square in board and square != through:
                break
    return {(f, r) for f, r in found if 0 <= f < 9 and 0 <= r < 9}


def allowed(board: dict[Square, int], at: Square) -> set[Square]:
    """Of the squares that a man of the mover attacks, those along its pin if it is pinned."""
    king = next(square for square, code in board.items() if code == KING)
    without = {square: code for square, code in board.items() if square != at}

    def checkers(board: dict[Square, int]) -> set[Square]:
        return {s for s, code in board.items() if code > 14 and king in attacks(board, s)}

    pinning = checkers(without) - checkers(board)
    found = attacks(board, at)
    if not pinning:
        return found
    (pinner,) = pinning
    return {square for square in found if _between(king, square, pinner)}


def _between(king: Square, square: Square, pinner: Square) -> bool:
    """Whether ``square`` is on the line from the king through the pinner (on any side)."""
    a, b = pinner[0] - king[0], pinner[1] - king[1]
    return a * (square[1] - king[1]) == b * (square[0] - king[0])


def expected(row: NDArray[np.uint8]) -> Any:
    board = men(row)
    king = next((square for square, code in board.items() if code == KING), None)
    counts = np.zeros((2, 9, 9), int)
    for square, code in board.items():
        if code > 14:
            for target in attacks(board, square, through=king):
                counts[0][target] += 1
        elif code != KING:
            for target in allowed(board, square):
                counts[1][target] += 1
    return np.stack([counts[0] > 0, counts[1] > 0, counts[1] > 1])


def test_attacked_squares_are_those_of_men_moved_one_by_one() -> None:
    env = VectorEnv(64, seed=11, reset_share=1.0, reset_depth=180, max_ply=200)
    env.stagger()
    seen = []
    for row in env.observation:
        bits = np.unpackbits(row[98:], bitorder="little").reshape(3, 88)
        np.testing.assert_array_equal(bits[:, :81].reshape(3, 9, 9), expected(row))
        assert not bits[:, 81:].any()
        seen.append(bits.sum(1))
    assert np.min(seen, axis=0).min() > 0
