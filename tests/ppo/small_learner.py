"""A small learner for tests, and functions to advance and compare it."""

from typing import Any

import torch

from keisei.config import Settings
from keisei.ppo.learner import IterationReport, Learner

SMALL = {
    "run.seed": 5,
    "run.games_recorded": 2,
    "schedule.steps": 2000,
    "env.games": 16,
    "env.max_ply": 48,
    "env.reset_pool": 32,
    "env.reset_refresh": 2,
    "net.blocks": 1,
    "net.channels": 8,
    "ppo.rollout_plies": 16,
    "ppo.minibatch": 96,
    "opponents.share": 0.0,
}
CPU = torch.device("cpu")


def learner(dtype: torch.dtype = torch.float32, **changed: Any) -> Learner:
    return Learner(Settings.load(None, SMALL | changed), CPU, dtype)


def iterate(learner: Learner) -> IterationReport:
    turns = learner.iterate()
    while True:
        try:
            next(turns)
        except StopIteration as end:
            return end.value


def weights(learner: Learner) -> list[torch.Tensor]:
    return list(learner.net.state_dict().values())


def same(a: Learner, b: Learner) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))
