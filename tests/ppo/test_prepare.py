"""From a rollout to what is learned: signs, discount and the hint of material."""

from typing import Any

import numpy as np
import pytest
import torch

from keisei.config import Settings
from keisei.env import MASK_WORDS, VectorEnv
from keisei.ppo.material import material_balance
from keisei.ppo.prepare import prepare_batch
from keisei.ppo.rollout import Rollout
from keisei.ppo.update import Batch

EVEN = "4k4/9/9/9/9/9/9/9/4K4 b - 1"
ROOK_DOWN = "4k4/9/9/9/4R4/9/9/9/4K4 w - 2"


def seen(*sfens: str) -> torch.Tensor:
    """Observations of positions."""
    env = VectorEnv(len(sfens), reset_pool=0)
    env.start_from(sfens)
    return torch.from_numpy(env.observation)


@pytest.mark.parametrize(
    ("sfen", "points"),
    [
        ("4k4/9/9/9/4R4/9/9/9/4K4 b - 1", 9),
        ("4k4/9/9/9/4R4/9/9/9/4K4 w - 1", -9),
        ("4k4/9/9/9/4r4/9/9/9/4K4 w - 1", 9),
        ("4k4/9/9/9/9/9/9/9/4K4 b G 1", 5),
        ("4k4/9/9/9/9/9/9/9/4K4 b B 1", 8),
        ("4k4/9/9/9/9/9/9/9/4K4 w g 1", 5),
        ("4k4/9/9/9/9/9/9/9/4K4 w Gp 1", -4),
    ],
)
def test_material_is_the_movers(sfen: str, points: int) -> None:
    assert torch.atanh(material_balance(seen(sfen)))[0] * 15 == pytest.approx(points, abs=1e-3)


def prepared(material: float) -> tuple[Batch, Any]:
    """Two plies of one game, of values 0.2, -0.4 and then 0.3; the first one takes a rook."""

    def outcome(*values: float) -> torch.Tensor:
        return torch.tensor([[[(1 + v) / 2, 0, (1 - v) / 2]] for v in values])

    none = torch.zeros(2, 1, dtype=torch.bool)
    nowhere = torch.zeros(0, dtype=torch.int64)
    positions = seen(EVEN, ROOK_DOWN, ROOK_DOWN.replace("w", "b"))[:, None]
    rollout = Rollout(
        observation=positions[:2],
        mask=torch.zeros(2, 1, MASK_WORDS, dtype=torch.int64),
        choice=torch.zeros(2, 1, dtype=torch.int16),
        log_prob=torch.zeros(2, 1),
        outcome=outcome(0.2, -0.4, 0.3),
        reward=torch.zeros(2, 1),
        terminated=none,
        truncated=none,
        weight=torch.tensor([[1.0], [0.0]]),
        material=material_balance(positions),
        cut=(nowhere, nowhere),
        cut_outcome=torch.zeros(0, 3),
        cut_material=torch.zeros(0),
    )
    settings = Settings.load(None, {"ppo.gamma": 0.9, "ppo.gae_lambda": 0.5})
    return prepare_batch(rollout, settings, material)


def test_advantages_and_targets_by_hand() -> None:
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
