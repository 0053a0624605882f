"""Random games, with the observation and mask of each position."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from keisei.env import VectorEnv, random_actions
from keisei.shogi import Position


@dataclass
class Played:
    """A game that the environment played."""

    moves: list[str]
    observation: list[NDArray[np.uint8]]
    mask: list[NDArray[np.uint64]]
    actions: list[int]
    winner: int
    """+1 black, -1 white, 0 neither."""


MAX_PLY = 256


@pytest.fixture(scope="session")
def played() -> list[Played]:
    """Return 300 random games without declarations; some are truncated."""
    count = 300
    env = VectorEnv(count, max_ply=MAX_PLY, declaration="none", seed=1, reset_pool=0)
    games = [Played([], [], [], [], 0) for _ in range(count)]
    positions: list[Any] = [Position() for _ in range(count)]
    rng = np.array([7], np.uint64)
    while any(positions):
        actions = random_actions(env.mask, rng)
        for i, position in enumerate(positions):
            if position:
                games[i].observation.append(env.observation[i].copy())
                games[i].mask.append(env.mask[i].copy())
                games[i].actions.append(int(actions[i]))
                games[i].moves.append(position.play(int(actions[i])))
        step = env.step(actions)
        for i in np.flatnonzero(step.terminated | step.truncated):
            if positions[i]:
                positions[i], games[i].winner = None, int(step.winner[i])
    return games
