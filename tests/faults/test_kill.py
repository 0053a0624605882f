"""A run killed with SIGKILL at any moment resumes and ends like a run never killed."""

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from keisei.store import RunReader, find_checkpoint, load_checkpoint

STEPS = 16 * 8 * 60
TINY = f"""
[run]
steps = {STEPS}
checkpoint_seconds = 0.05
[env]
games = 8
max_ply = 64
reset_pool = 16
[net]
blocks = 1
channels = 8
[ppo]
rollout_plies = 16
minibatch = 64
[opponents]
share = 0.5
every = 3
[compute]
dtype = "float32"
threads = 1
"""


def train(run: Path, config: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "keisei", "train", "--config", str(config), "--run", str(run)]
    return subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> None:
    _, error = process.communicate(timeout=100)
    assert process.returncode == 0, error


def newest(run: Path) -> Any:
    path, refused = find_checkpoint(run)
    assert refused == []
    return load_checkpoint(path)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_killed_at_random_moments_ends_as_one_never_killed(tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(TINY)
    chance = random.Random(0)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    never_killed = train(whole, config)
    for resume in ((), ("--resume",)):
        process = train(killed, config, *resume)
        before = {path.name for path in killed.glob("checkpoints/0*")}
        while {path.name for path in killed.glob("checkpoints/0*")} <= before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        time.sleep(chance.random() * 0.3)
        process.kill()
        process.communicate()
        assert newest(killed).step < STEPS, "the run ended before the kill"
    finish(train(killed, config, "--resume"))
    finish(never_killed)

    one, other = newest(killed), newest(whole)
    assert one.step == other.step >= STEPS
    for group, tensors in other.tensors.items():
        for name, tensor in tensors.items():
            assert torch.equal(one.tensors[group][name], tensor), f"{group}/{name}"
    series = [
        RunReader(run).metrics(["games/length"])["series"]["games/length"]
        for run in (killed, whole)
    ]
    assert series[0]["step"] == series[1]["step"]
    assert len(series[0]["step"]) > 60, "iterations with opponents learn from fewer than 128 plies"
    assert series[0]["value"] == series[1]["value"]
