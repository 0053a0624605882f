"""What only a GPU can show about the code that trains. ``tools/gpu tests`` runs these tests.

With ``GPU_TESTS_DEVICE=cpu`` they run on a CPU, except for those that count waits for the GPU.
"""

import math
import os
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from keisei.config import Settings
from keisei.env import VectorEnv
from keisei.nets.planes import expand
from keisei.nets.policy import Agent, legal_columns, legal_log_probs, sample
from keisei.nets.registry import build
from keisei.ppo.learner import IterationReport, Learner

DEVICE = torch.device(os.environ.get("GPU_TESTS_DEVICE", "cuda"))
CPU = torch.device("cpu")
SETTINGS = {
    "run.seed": 5, "env.games": 16, "env.max_ply": 32, "env.reset_pool": 32, "net.blocks": 1,
    "net.channels": 16, "ppo.rollout_plies": 16, "ppo.minibatch": 64, "opponents.share": 0.5,
    "opponents.every": 1,
}  # fmt: skip

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # torch's compiler uses deprecated functions
    pytest.mark.skipif(
        DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="there is no CUDA device"
    ),
]
counts_waits = pytest.mark.skipif(DEVICE.type == "cpu", reason="a CPU waits for no device")


def positions(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return observations and packed masks of random positions, on the CPU."""
    with VectorEnv(count, seed=3, reset_pool=0) as env:
        env.stagger()
        return torch.tensor(env.observation), torch.tensor(env.mask.view(np.int64))


def iterate(learner: Learner) -> IterationReport:
    turns = learner.iterate()
    while True:
        try:
            next(turns)
        except StopIteration as end:
            report: IterationReport = end.value
            return report


def make_learner(dtype: torch.dtype = torch.float32, **changed: object) -> Learner:
    learner = Learner(Settings.load(None, SETTINGS | changed), DEVICE, dtype)
    learner.warm_up()
    return learner


def test_planes_are_the_same_on_both_devices() -> None:
    seen, _ = positions(64)
    assert torch.equal(expand(seen.to(DEVICE)).cpu(), expand(seen))


def test_both_devices_give_legal_moves_the_same_probabilities() -> None:
    _, mask = positions(64)
    logits = torch.randn(64, 2187, generator=torch.Generator().manual_seed(1))
    wide = torch.zeros(2, 64, 2187)
    for result, device in zip(wide, (CPU, DEVICE), strict=True):
        legal = legal_columns(mask.to(device))
        chances = legal_log_probs(logits.to(device), legal).exp().cpu()
        result.scatter_add_(1, legal.clamp(min=0).cpu(), chances)
    torch.testing.assert_close(wide[1], wide[0])


def test_the_same_random_numbers_draw_the_same_moves_on_both_devices() -> None:
    _, mask = positions(256)
    draw = torch.rand(256, generator=torch.Generator().manual_seed(1))
    drawn = []
    for device in (CPU, DEVICE):
        legal = legal_columns(mask.to(device))
        column, _ = sample(torch.where(legal < 0, -1e9, 0.0), draw.to(device))
        drawn.append(legal.gather(1, column).cpu())
    assert (drawn[0] == drawn[1]).float().mean() > 0.98  # sums round differently
    assert (drawn[1] >= 0).all()


def test_an_agent_gives_the_same_values_and_best_moves_on_both_devices() -> None:
    seen, mask = positions(40)
    answers = []
    for device in (CPU, DEVICE):
        net = build("se_resnet", blocks=2, channels=32, seed=1).to(device)
        agent = Agent(net, device, torch.float32)
        answers.append(agent.choose(seen.numpy(), mask.numpy().view(np.uint64), greedy=True))
    assert (answers[0][0] == answers[1][0]).mean() > 0.9  # nearly equal logits
    np.testing.assert_allclose(answers[0][1], answers[1][1], atol=2e-3)


@pytest.mark.parametrize(
    ("dtype", "compiled"),
    [(torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)],
)
def test_a_learner_learns_with_frozen_opponents(dtype: torch.dtype, *, compiled: bool) -> None:
    learner = make_learner(dtype, **{"compute.compile": compiled})
    assert not learner.compile_failure
    for _ in range(4):
        values = iterate(learner).values
    learner.env.close()
    losses = [values[f"train/{name}"] for name in ("loss_policy", "loss_value", "grad_norm")]
    assert all(map(math.isfinite, losses))
    assert values["train/skipped"] == 0
    assert values["train/ratio_error"] < (1e-3 if dtype == torch.float32 else 2e-2)
    assert values["opponents/plies"] > 0


def test_a_loaded_learner_goes_on_with_the_same_games() -> None:
    first = make_learner()
    iterate(first)
    saved = first.tensors(), first.state()
    second = make_learner()
    second.load(*saved)
    expected, found = iterate(first).values, iterate(second).values
    names = ("train/loss_policy", "train/loss_value", "train/entropy", "games/ended")
    for name in names:
        assert found[name] == pytest.approx(expected[name], abs=1e-2)
    first.env.close()
    second.env.close()


@counts_waits
def test_a_ply_waits_once_for_the_gpu_also_with_opponents() -> None:
    learner = make_learner()
    for _ in range(4):
        iterate(learner)
    assert (learner.env.games["opponent"] != 0).any()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            learner.play()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    learner.env.close()
    waits = [f"{w.filename}:{w.lineno}" for w in caught if "synchronizing" in str(w.message)]
    assert len(waits) == SETTINGS["ppo.rollout_plies"], sorted(set(waits))


@counts_waits
def test_no_minibatch_waits_for_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, learn = make_learner(), Learner._learn
    iterate(learner)
    calls = []

    def guarded(*args: Any) -> None:
        torch.cuda.set_sync_debug_mode("error")
        try:
            learn(*args)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        calls.append(args)

    monkeypatch.setattr(Learner, "_learn", guarded)
    iterate(learner)
    learner.env.close()
    assert calls
