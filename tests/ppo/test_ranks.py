"""Two processes train together, connected by gloo on the CPU."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from keisei.config import Settings
from keisei.ppo.learner import Learner
from keisei.ppo.ranks import ALONE
from keisei.ppo.schedule import scheduled
from keisei.ppo.update import Batch, Sums

from .two_ranks import SMALL

SCRIPT = Path(__file__).with_name("two_ranks.py")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def start(folder: Path, what: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), what],
            env=os.environ | address | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def results(folder: Path, what: str) -> list[dict[str, Any]]:
    """Run both ranks; return what each saved."""
    processes = start(folder, what)
    try:
        errors = [process.communicate(timeout=150)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def rms(values: torch.Tensor) -> float:
    return values.square().mean().sqrt().item()


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return results(tmp_path_factory.mktemp("ranks"), "join")


def test_the_ranks_play_different_games_and_learn_the_same(joined: list[dict[str, Any]]) -> None:
    """So after iterations of many minibatches, with different numbers of learned plies."""
    first, second = joined
    assert first["games"] != second["games"]
    for state in ("many", "after"):
        for group in ("weights", "optimizer"):
            assert same(first[state][group], second[state][group])
    assert first["shared"] == second["shared"], "the detectors decide on these metrics"
    assert len(first["rows"]["choice"]) != len(second["rows"]["choice"])


def test_the_update_is_that_of_one_process_with_the_joined_batch(
    joined: list[dict[str, Any]],
) -> None:
    first, second = joined
    rows = {name: torch.cat([value, second["rows"][name]]) for name, value in first["rows"].items()}
    batch = Batch(**rows)
    assert first["taken"] == second["taken"] == len(batch.weight)
    assert rms(batch.advantage) == pytest.approx(1, abs=1e-5), "scaled over the plies of both"
    assert rms(first["rows"]["advantage"]) != pytest.approx(1, abs=1e-3)

    settings = Settings.load(None, SMALL)
    alone = Learner(settings, torch.device("cpu"), torch.float32)
    alone.roll_back(first["before"], first["step"])
    now = scheduled(settings, first["step"])
    sums = Sums(alone.device)
    assert first["minibatches"] == settings.ppo.epochs
    for _ in range(settings.ppo.epochs):
        alone._learn(batch, torch.arange(len(batch.weight)), now, sums)
    moved = 0.0
    for name, weight in alone.net.state_dict().items():
        torch.testing.assert_close(weight, first["after"]["weights"][name], rtol=1e-5, atol=1e-6)
        moved = max(moved, (weight - first["before"]["weights"][name]).abs().max().item())
    assert moved > 1e-4
    means = sums.means()
    assert means["grad_norm"].item() == pytest.approx(first["grad_norm"], rel=1e-4)
    assert means["loss_policy"].item() == pytest.approx(first["loss_policy"], rel=1e-4)


def test_all_ranks_skip_a_step_that_one_must_skip(tmp_path: Path) -> None:
    first, second = results(tmp_path, "spoil")
    assert first["skipped"] == second["skipped"] == 1
    for group in ("weights", "optimizer"):
        assert same(first["after"][group], second["after"][group])
    assert all(value.isfinite().all() for value in first["after"]["weights"].values())


@pytest.mark.parametrize(("what", "seconds"), [("dead", 2.5), ("stuck", 12.0)])
def test_a_lost_rank_raises_an_error_soon(tmp_path: Path, what: str, seconds: float) -> None:
    leader, lost = start(tmp_path, what)
    try:
        out, error = leader.communicate(timeout=100)
    finally:
        lost.kill()
        lost.communicate()
    assert out, error
    message, waited = json.loads(out)
    assert message.startswith("rank 0 of 2: another rank has died, or has not answered for ")
    assert waited < seconds


def test_a_process_that_trains_alone_gets_its_own_numbers_back() -> None:
    numbers = torch.ones(3)
    assert ALONE.sum(numbers) is numbers
    assert ALONE.mean(numbers) is numbers
    assert ALONE.total([1, 2]) == [1, 2]
    assert ALONE.gather("x") == ["x"]
    assert ALONE.seed(7) == 7
