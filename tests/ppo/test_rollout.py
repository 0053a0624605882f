"""A rollout holds what was played and what the update needs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from keisei.env import Reason, StepResult
from keisei.ppo.material import material_balance

from .small_learner import learner


def test_the_rollout_holds_what_was_played() -> None:
    """Values, ends and bootstraps equal those of each position asked by itself."""
    one = learner(**{"env.max_ply": 16})
    env = one.env
    truth = []
    for t in range(16):
        seen = env.observation.copy()
        _, step = one._collector.ply(t)
        after = np.where(
            (step.terminated | step.truncated)[:, None], step.final_observation, env.observation
        )
        truth.append((seen, after, step.reward.copy(), step.truncated.copy()))
    rollout = one._collector.finish()
    assert rollout.bytes_per_ply <= 450 * 17 / 16  # one row in seventeen is the edge's
    next_outcome, next_material = rollout.following()
    assert rollout.truncated.any()
    ends = rollout.terminated.numpy()
    for t, (seen, after, reward, cut) in enumerate(truth):
        np.testing.assert_array_equal(rollout.observation[t], seen)
        np.testing.assert_array_equal(rollout.reward[t], reward)
        np.testing.assert_array_equal(rollout.truncated[t], cut)
        balance = material_balance(torch.from_numpy(after)).numpy()
        np.testing.assert_array_equal(next_material[t][~ends[t]], balance[~ends[t]])
        value = one.agent.choose(after, one.env.mask)[1]
        found = next_outcome[t]
        known = (found[:, 0] - found[:, 2]).numpy()
        np.testing.assert_allclose(known[~ends[t]], value[~ends[t]], atol=1e-5)


def test_a_declared_win_is_worth_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    one = learner(**{"ppo.declaration_reward": 0.25})
    step = one.env.step

    def declared(actions: Any) -> StepResult:
        reason = np.full(16, Reason.CHECKMATE, np.int8)
        reason[:3] = Reason.DECLARATION
        return replace(step(actions), reason=reason, reward=np.full(16, -1, np.float32))

    monkeypatch.setattr(one.env, "step", declared)
    for t in range(16):
        one._collector.ply(t)
    rollout = one._collector.finish()
    assert (rollout.reward[:, :3] == -0.25).all()
    assert (rollout.reward[:, 3:] == -1).all()
