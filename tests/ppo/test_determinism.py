"""The same seed, machine and threads give the same weights; other machines similar losses."""

import json
from pathlib import Path

import pytest
import torch

from keisei.config import Settings
from keisei.ppo.learner import Learner

from .small_learner import CPU, SMALL, iterate, same

TRACE = Path(__file__).parents[1] / "golden" / "loss_trace.json"
"""Written by ``python -m tests.ppo.test_determinism``."""
FLAGS = SMALL | {"opponents.share": 0.25, "opponents.every": 4, "ppo.minibatch": 64}


def losses(
    iterations: int, dtype: torch.dtype = torch.float32
) -> tuple[Learner, list[list[float]]]:
    """Return a learner after some iterations, and the losses and entropies of each."""
    learner = Learner(Settings.load(None, FLAGS), CPU, dtype)
    keys = ("train/loss_policy", "train/loss_value", "train/entropy")
    rows = [iterate(learner).values for _ in range(iterations)]
    return learner, [[round(values[key], 5) for key in keys] for values in rows]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("threads", "dtype"), [(1, torch.float32), (2, torch.float32), (2, torch.bfloat16)]
)
def test_twenty_iterations_are_the_same_bit_for_bit(threads: int, dtype: torch.dtype) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        first, second = losses(20, dtype), losses(20, dtype)
    finally:
        torch.set_num_threads(before)
    assert first[1] == second[1]
    assert same(first[0], second[0])


def test_the_first_losses_equal_the_golden_trace() -> None:
    """Only the first iterations: later, a rounding error may change a sampled move."""
    expected = json.loads(TRACE.read_text())
    _, found = losses(len(expected))
    for row, known in zip(found, expected, strict=True):
        assert row == pytest.approx(known, abs=2e-3)


if __name__ == "__main__":
    TRACE.write_text(json.dumps(losses(6)[1], indent=1) + "\n")
