"""The kernels: bounds, attacked squares, and the symmetry of black and white."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from keisei.env import VectorEnv, random_actions

# --- bounds ---------------------------------------------------------------------------------------

PLAY = """
import numpy as np
from keisei.env import VectorEnv, legal_lists, material_actions, random_actions
from keisei.shogi import Position, kernels

env = VectorEnv(32, max_ply=70, seed=3, reset_share=0.5, reset_depth=60, reset_pool=32)
rng, checksum = np.array([1], np.uint64), np.zeros(1, np.uint64)
for ply in range(300):
    actions, counts = legal_lists(env.mask)
    choose = material_actions(env.games, rng) if ply % 8 == 0 else random_actions(env.mask, rng)
    env.step(choose)
    kernels.mix_masks(env.mask, checksum)
print(Position().perft(3), int(env.game_number.max()) > 100, checksum[0])
"""
PROVOKE = """
try:
    kernels.list_legal(env.mask, np.empty((32, 1), np.int64), np.empty(32, np.int32))
    print("unchecked")
except IndexError:
    print("checked")
"""


def run(code: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_index_leaves_its_array(tmp_path: Path) -> None:
    """Under Numba's bounds checking the play is the same, and no error is raised.

    The checked run needs a cache folder of its own: the usual one holds unchecked code.
    """
    checked = run(PLAY + PROVOKE, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert checked[0].startswith("25470 True ")
    assert checked[1] == "checked"
    assert checked[0] == run(PLAY)[0]


# --- attacked squares -----------------------------------------------------------------------------

KING = 8
# Steps (files, ranks) by piece code, in the owner's view: rank -1 is forward. The codes from 1 are
# P L N S B R G K +P +L +N +S +B +R.
FORWARD, DIAGONALS = (0, -1), ((-1, -1), (1, -1), (-1, 1), (1, 1))
STRAIGHTS = (FORWARD, (0, 1), (-1, 0), (1, 0))
GOLD = (*STRAIGHTS, (-1, -1), (1, -1))
STEPS = {
    1: (FORWARD,), 3: ((-1, -2), (1, -2)), 4: (FORWARD, *DIAGONALS), 7: GOLD, 8: (*STRAIGHTS, *DIAGONALS),
    9: GOLD, 10: GOLD, 11: GOLD, 12: GOLD, 13: STRAIGHTS, 14: DIAGONALS,
}  # fmt: skip
SLIDES = {2: (FORWARD,), 5: DIAGONALS, 6: STRAIGHTS, 13: DIAGONALS, 14: STRAIGHTS}
Square = tuple[int, int]


def pieces(row: NDArray[np.uint8]) -> dict[Square, int]:
    """Return piece codes by (file, rank): 1..14 the mover's, 15..28 the opponent's."""
    return {divmod(s, 9): int(code) for s, code in enumerate(row[:81]) if code}


def attacks(board: dict[Square, int], at: Square, *, through: Square | None = None) -> set[Square]:
    """Return the squares that the piece at ``at`` attacks; its lines pass ``through``."""
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
    """Return the squares that a piece of the mover attacks; if pinned, only those along the pin."""
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


def expected_attacks(row: NDArray[np.uint8]) -> Any:
    """bool[3, 9, 9]: attacked by the opponent, by the mover, and by two pieces of the mover."""
    board = pieces(row)
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


def test_attacked_squares_are_those_of_pieces_moved_one_by_one() -> None:
    env = VectorEnv(64, seed=11, reset_share=1.0, reset_depth=180, max_ply=200)
    env.stagger()
    seen = []
    for row in env.observation:
        bits = np.unpackbits(row[98:], bitorder="little").reshape(3, 88)
        np.testing.assert_array_equal(bits[:, :81].reshape(3, 9, 9), expected_attacks(row))
        assert not bits[:, 81:].any()
        seen.append(bits.sum(1))
    assert np.min(seen, axis=0).min() > 0


# --- a position and its twin of the other colour --------------------------------------------------


def flip(sfen: str) -> str:
    """Return the SFEN with the board turned round and the colours swapped."""
    board, side, hands, number = sfen.split()
    turned = "/".join(_reversed(row) for row in reversed(board.split("/")))
    return f"{turned.swapcase()} {'w' if side == 'b' else 'b'} {hands.swapcase()} {number}"


def _reversed(row: str) -> str:
    """Return the row backwards; a ``+`` stays before its piece."""
    pieces, plus = [], ""
    for letter in row:
        if letter == "+":
            plus = "+"
        else:
            pieces.append(plus + letter)
            plus = ""
    return "".join(reversed(pieces))


def test_a_position_and_its_twin_look_the_same_to_the_side_to_move() -> None:
    games, rng = 64, np.array([3], np.uint64)
    env = VectorEnv(games, max_ply=300, reset_pool=0)
    env.stagger()
    for _ in range(20):
        env.step(random_actions(env.mask, rng))
        twin = VectorEnv(games, max_ply=300, reset_pool=0)
        twin.start_from([flip(env.sfen(g)) for g in range(games)])
        assert np.array_equal(twin.mask, env.mask)
        assert np.array_equal(twin.observation[:, :95], env.observation[:, :95])
        assert np.array_equal(twin.observation[:, 96], env.observation[:, 96])
        assert (twin.games["side"] != env.games["side"]).all()


def test_twin_games_with_the_same_actions_end_alike() -> None:
    """History and ends included."""
    start = "4k4/9/9/9/R8/9/9/9/4K4 b 2p 1"
    env = VectorEnv(2, max_ply=60, reset_pool=0)
    env.start_from([start, flip(start)])
    rng = np.array([8], np.uint64)
    while True:
        assert np.array_equal(env.observation[0], env.observation[1])
        action = random_actions(env.mask[:1], rng)[0]
        result = env.step(np.array([action, action]))
        assert result.reward[0] == result.reward[1]
        assert result.winner[0] == -result.winner[1]
        if result.terminated[0] or result.truncated[0]:
            assert result.reason[0] == result.reason[1]
            break
