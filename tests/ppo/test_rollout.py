"""A rollout holds what was played and what the update needs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from keisei.env import Reason, StepResult
from keisei.nets.policy import evaluate, legal_columns, legal_log_probs
from keisei.ppo.material import material_balance

from .positions import MATE
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
    next_outcome, next_material, next_proven = rollout.following()
    assert rollout.truncated.any()
    ends = (rollout.terminated | next_proven).numpy()
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


@pytest.mark.parametrize("frozen", [False, True])
def test_a_proven_mate_is_played_by_the_learner_and_by_frozen_opponents(frozen: bool) -> None:
    one = learner(**{"opponents.share": 1.0})
    one._opponents.refresh(0, 0)
    one.env.start_from([MATE] * 16)
    one.env.games["opponent"] = -1 if frozen else 1
    actions, step = one._collector.ply(0)
    assert (step.reason == Reason.CHECKMATE).all()
    for t in range(1, 16):
        one._collector.ply(t)
    rollout = one._collector.finish()
    assert rollout.proven[0].all()
    assert (rollout.weight[0] == 1 - frozen).all()
    assert (rollout.reward[0] == 1).all()
    legal, choice = legal_columns(rollout.mask[0]), rollout.choice[0].long()[:, None]
    np.testing.assert_array_equal(legal.gather(1, choice)[:, 0], actions)
    policy, _ = evaluate(one.net, rollout.observation[0], torch.float32)
    expected = legal_log_probs(policy, legal).gather(1, choice)[:, 0]
    torch.testing.assert_close(rollout.log_prob[0], expected.detach())


def test_without_the_search_for_mates_no_ply_is_proven() -> None:
    one = learner(**{"env.mates": 0})
    one.env.start_from([MATE] * 16)
    _, step = one._collector.ply(0)
    assert not step.terminated.all()
    assert not one._collector.finish().proven.any()


def test_the_position_after_the_rollout_can_be_proven_but_a_cut_game_has_ended() -> None:
    one = learner(**{"env.max_ply": 16})
    for t in range(16):
        one._collector.ply(t)
    one.env.start_from([MATE] * 16)
    rollout = one._collector.finish()
    outcome, material, proven = rollout.following()
    cut = rollout.truncated[-1]
    assert cut.any()
    assert torch.equal(proven[-1], ~cut)
    assert (outcome[-1, ~cut] == torch.tensor([1.0, 0, 0])).all()
    assert (material[-1, ~cut] == 0).all()
    assert torch.equal(outcome[-1, cut], rollout.cut_outcome[rollout.cut[0] == 15])
