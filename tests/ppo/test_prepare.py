"""From a rollout to a batch: signs, discount, the material hint; the summary of the value head."""

from typing import Any

import numpy as np
import pytest
import torch

from keisei.config import Settings
from keisei.env import MASK_WORDS
from keisei.ppo.material import material_balance
from keisei.ppo.prepare import prepare_batch, summary
from keisei.ppo.rollout import Rollout
from keisei.ppo.update import Batch

from .positions import seen

EVEN = "4k4/9/9/9/9/9/9/9/4K4 b - 1"
ROOK_DOWN = "4k4/9/9/9/4R4/9/9/9/4K4 w - 2"


def prepared(material: float, *proven: int, weight: float = 0.0) -> tuple[Batch, Any]:
    """Prepare two plies of one game; the first takes a rook. The values are 0.2, -0.4, then 0.3.

    ``proven`` contains the numbers of the positions in which a mate is proven. ``weight`` is the
    weight of the second ply, whose move had the probability 1/4.
    """

    def outcome(*values: float) -> torch.Tensor:
        return torch.tensor([[[(1 + v) / 2, 0, (1 - v) / 2]] for v in values])

    none = torch.zeros(2, 1, dtype=torch.bool)
    nowhere = torch.zeros(0, dtype=torch.int64)
    positions = seen(EVEN, ROOK_DOWN, ROOK_DOWN.replace("w", "b"))[:, None]
    rollout = Rollout(
        observation=positions[:2],
        mask=torch.zeros(2, 1, MASK_WORDS, dtype=torch.int64),
        choice=torch.zeros(2, 1, dtype=torch.int16),
        log_prob=torch.tensor([[1.0], [0.25]]).log(),
        outcome=outcome(0.2, -0.4, 0.3),
        reward=torch.zeros(2, 1),
        terminated=none,
        truncated=none,
        weight=torch.tensor([[1.0], [weight]]),
        proven=torch.tensor([[t in proven] for t in range(3)]),
        material=material_balance(positions),
        cut=(nowhere, nowhere),
        cut_outcome=torch.zeros(0, 3),
        cut_material=torch.zeros(0),
    )
    settings = Settings.load(None, {"ppo.gamma": 0.9, "ppo.gae_lambda": 0.5})
    return prepare_batch(rollout, settings, material)


def test_advantages_and_targets_equal_those_computed_by_hand() -> None:
    """delta = 0.16, 0.13; A = 0.16 - 0.9 * 0.5 * 0.13, 0.13; the target is V + A."""
    batch, _ = prepared(0.0)
    advantage = torch.tensor([0.1015, 0.13])
    torch.testing.assert_close(batch.advantage, advantage / 0.1015)  # scaled by learned plies
    value = batch.target[:, 0] - batch.target[:, 2]
    torch.testing.assert_close(value, torch.tensor([0.2, -0.4]) + advantage)
    assert batch.weight.tolist() == [1, 0]


def test_the_hint_praises_the_capture_and_leaves_the_target_alone() -> None:
    """With hints 0, -h, h: delta = 0.16 + 0.9 * m h, and 0.13 + (1 - 0.9) * m h."""
    batch, summary = prepared(0.5)
    hint = 0.5 * np.tanh(9 / 15)
    second = 0.13 + 0.1 * hint
    first = 0.16 + 0.9 * hint - 0.45 * second
    assert batch.advantage[1] == pytest.approx(second / first)
    torch.testing.assert_close(batch.target, prepared(0.0)[0].target)
    rms = np.sqrt((first**2 + second**2) / 2)
    assert summary["advantage_rms"] == pytest.approx(rms)


def test_before_a_proven_mate_the_game_counts_as_lost() -> None:
    """A = -0.9 - 0.2 for the first ply; the rook and all later plies do not count."""
    for material in (0.0, 0.5):
        batch, summary = prepared(material, 1, 2, weight=1.0)
        assert batch.proven.tolist() == [False, True]
        assert summary["advantage_rms"] == pytest.approx(1.1 / np.sqrt(2))
        assert batch.advantage.tolist() == pytest.approx([-1, 0]), "scaled by the first ply alone"
        torch.testing.assert_close(batch.target, torch.tensor([[0, 0.1, 0.9], [1, 0, 0]]))
        outcome = torch.tensor([0.2, -0.4])  # what the value head itself said
        error = (torch.tensor([-0.9, 1.0]) - outcome).var() / torch.tensor([-0.9, 1.0]).var()
        assert float(summary["explained_variance"]) == pytest.approx(float(1 - error))


def test_a_mate_that_is_proven_after_the_rollout_counts_too() -> None:
    """delta = 0.16, -0.9 + 0.4; A = 0.16 + 0.9 * 0.5 * 0.5, -0.5."""
    batch, _ = prepared(0.0, 2)
    assert not batch.proven.any()
    assert batch.advantage.tolist() == pytest.approx([1, -0.5 / 0.385])
    value = batch.target[:, 0] - batch.target[:, 2]
    torch.testing.assert_close(value, torch.tensor([0.2 + 0.385, -0.9]))


def test_the_summary_says_how_often_the_learner_could_mate_and_whether_it_knew_the_move() -> None:
    for proven, weight, share, chance in (
        ((1,), 1.0, 0.5, 0.25), ((0, 1), 1.0, 1.0, 0.625), ((0, 1), 0.0, 1.0, 1.0),
    ):  # fmt: skip
        summary = prepared(0.0, *proven, weight=weight)[1]
        assert float(summary["mates"]) == share
        assert float(summary["mate_probability"]) == pytest.approx(chance)
    summary = prepared(0.0, 1)[1]  # the mate of a frozen opponent
    assert float(summary["mates"]) == 0
    assert np.isnan(float(summary["mate_probability"]))


def test_the_summary_tells_a_good_value_head_from_a_bad_one() -> None:
    """One head knows the targets, one answers their mean, one the opposite."""
    won, lost = torch.tensor([0.9, 0.05, 0.05]), torch.tensor([0.05, 0.05, 0.9])
    target = torch.stack((won, won, won, lost)).repeat(8, 1)[None]
    rate = target.mean((0, 1))
    base = float(-(rate * rate.log()).sum())
    shown = {}
    for name, outcome in {
        "knows": target, "mean": rate.expand_as(target), "opposite": target.flip(-1)
    }.items():  # fmt: skip
        value = outcome[..., 0] - outcome[..., 2]
        shown[name] = summary(outcome, torch.zeros(1, 32), target, value)
        assert float(shown[name]["value_base_rate"]) == pytest.approx(base)
        assert float(shown[name]["draw_probability"]) == pytest.approx(0.05)
    assert float(shown["knows"]["explained_variance"]) == pytest.approx(1)
    assert float(shown["mean"]["explained_variance"]) == pytest.approx(0, abs=1e-6)
    assert float(shown["opposite"]["explained_variance"]) == pytest.approx(-3)
    assert float(shown["knows"]["value_unseen"]) < base
    assert float(shown["mean"]["value_unseen"]) == pytest.approx(base)
    assert float(shown["opposite"]["value_unseen"]) > base
    returns = torch.tensor([0.85, 0.85, 0.85, -0.85]).repeat(8)
    assert float(shown["mean"]["return_variance"]) == pytest.approx(float(returns.var()))
