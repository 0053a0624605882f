"""``keisei bench env``."""

import json
import os

import numpy as np
import pytest
from rsshogi.core import Board
from rsshogi.policy import move_label

from keisei.cli.bench import env as bench_env
from keisei.cli.main import main
from keisei.env import MASK_WORDS, VectorEnv, random_actions
from keisei.shogi import kernels


def test_the_checksum_equals_that_of_another_implementation_of_the_rules() -> None:
    """Play the same moves with masks from rsshogi, so long that games end and begin again."""
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


def test_bench_env_reports_every_batch_and_restores_the_cores_of_the_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cores = os.sched_getaffinity(0)
    assert main(["bench", "env", "--steps", "8192", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    speeds = report["steps_per_second"]
    assert set(speeds) == {"256", "1024", "4096"}
    assert report["best"]["steps_per_second"] == max(speeds.values()) > 0
    assert report["repeats"] == 7
    assert all(len(batch["checksum"]) == 16 for batch in report["batches"].values())
    one, three = report["mates"]["mates=1"], report["mates"]["mates=3"]
    assert 0 < one["microseconds"] < three["microseconds"]
    assert 0 < one["share_found"] < three["share_found"] < 1
    assert os.sched_getaffinity(0) == cores
