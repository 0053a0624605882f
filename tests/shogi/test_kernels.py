"""The kernels under Numba's bounds checking: the same play, and no index out of its array."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
def test_checked_play_is_the_same(tmp_path: Path) -> None:
    """The checked run needs a cache folder of its own: the usual one holds unchecked code."""
    checked = run(PLAY + PROVOKE, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert checked[0].startswith("25470 True ")
    assert checked[1] == "checked"
    assert checked[0] == run(PLAY)[0]
