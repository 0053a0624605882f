"""Observations of positions, for tests."""

import torch

from keisei.env import VectorEnv

MATE = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
"""Black mates with a gold on 5b, and with no other move."""


def seen(*sfens: str) -> torch.Tensor:
    """Return the observations ``uint8[N, 131]`` of positions."""
    env = VectorEnv(len(sfens), reset_pool=0)
    env.start_from(sfens)
    return torch.from_numpy(env.observation)
