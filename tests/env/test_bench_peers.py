"""The cshogi loop that the environment is compared with does the same work."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keisei.env import VectorEnv

PEERS = Path(__file__).parents[2] / "tools" / "bench_peers"


def test_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PEERS))
    import env_cshogi  # type: ignore[import-not-found, unused-ignore]

    game, env = env_cshogi.Game(), VectorEnv(1, max_ply=300, declaration="none", reset_pool=0)
    flags, mask = np.zeros(env_cshogi.ACTIONS, np.uint8), np.zeros(280, np.uint8)
    chooser = random.Random(5)
    for _ in range(200):
        env_cshogi.fill_mask(game, flags, mask)
        assert np.array_equal(mask.view(np.uint64), env.mask[0])
        move = chooser.choice(game.moves)
        action = env_cshogi.make_move_label(move, game.board.turn)
        game.board.push(move)
        game.moves = list(game.board.legal_moves)
        if not game.moves:
            break
        env.step(np.array([action]))


def test_both_are_measured() -> None:
    command = [sys.executable, str(PEERS), "--rounds", "1", "--steps", "4096", "--json"]
    done = subprocess.run(
        [*command, "--seconds", "0.1"], capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    assert report["ratio"] == pytest.approx(report["keisei"] / report["cshogi"])
    assert report["ratio"] > 1
