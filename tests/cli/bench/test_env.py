"""``keisei bench env``."""

import numpy as np
from rsshogi.core import Board
from rsshogi.policy import move_label

from keisei.cli.bench import env as bench_env
from keisei.env import MASK_WORDS, VectorEnv, random_actions
from keisei.shogi import kernels


def test_the_checksum_of_bench_env_is_that_of_another_implementation() -> None:
    """The same play with masks from rsshogi; long enough for games to end and begin again."""
    games, plies = 8, 300
    found = bench_env.measure(games, games * plies, repeats=1)
    env = VectorEnv(games, seed=1, reset_pool=0)
    env.stagger()
    rng, checksum = np.array([7], np.uint64), np.zeros(1, np.uint64)
    masks = rules_masks(env)
    ended = 0
    for _ in range(plies):
        step = env.step(random_actions(masks, rng))
        ended += int((step.terminated | step.truncated).sum())
        masks = rules_masks(env)
        kernels.mix_masks(masks, checksum)
    assert ended >= games
    assert found["checksum"] == f"{int(checksum[0]):016x}"


def rules_masks(env: VectorEnv) -> np.ndarray:
    bits = np.zeros((len(env), MASK_WORDS * 64), np.uint8)
    for game in range(len(env)):
        board = Board()
        board.set_sfen(env.sfen(game))
        bits[game, [move_label(move, board.turn) for move in board.legal_moves()]] = 1
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
