"""Observations of positions, for tests."""

import torch

from keisei.env import VectorEnv
from keisei.shogi.sfen import read_sfen


def seen(*sfens: str) -> torch.Tensor:
    """Observations of positions."""
    env = VectorEnv(len(sfens), reset_pool=0)
    for game, sfen in enumerate(sfens):
        env.games[game] = read_sfen(sfen)[0][0]
    env._look()
    return torch.from_numpy(env.observation)
