"""Observations of positions, for tests."""

import torch

from keisei.env import VectorEnv


def seen(*sfens: str) -> torch.Tensor:
    """Return the observations ``uint8[N, 131]`` of positions."""
    env = VectorEnv(len(sfens), reset_pool=0)
    env.start_from(sfens)
    return torch.from_numpy(env.observation)
