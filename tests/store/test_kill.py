"""After kill -9 in the middle of a save the run resumes from its files."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from keisei.config import Settings
from keisei.store import RunDirectory, find_checkpoint, load_checkpoint

SAVE = """
import sys
from itertools import count
from pathlib import Path
import torch
from keisei.store import RunDirectory, save_checkpoint
with RunDirectory.open(Path(sys.argv[1])) as run:
    for step in count(int(sys.argv[2])):
        save_checkpoint(run, step, {"weights": {"w": torch.full((20_000,), float(step))}}, {})
        print(step, flush=True)
"""


def killed(path: Path, first: int, seconds: float) -> int:
    """Save from step ``first`` on, kill it after ``seconds``; return the last step told."""
    command = [sys.executable, "-c", SAVE, str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as saver:
        assert saver.stdout
        last = int(saver.stdout.readline())
        time.sleep(seconds)
        saver.kill()
        last = max([last, *(int(line) for line in saver.stdout if line.endswith("\n"))])
    assert saver.returncode == -signal.SIGKILL
    return last


def kill_again_and_again(path: Path, times: int) -> None:
    RunDirectory.create(Settings.model_validate({"run": {"checkpoints_kept": 2}}), path).close()
    chance = random.Random(1)
    step = 0
    for _ in range(times):
        last = killed(path, step + 1, chance.uniform(0, 0.05))
        found, refused = find_checkpoint(path)
        assert refused == []
        step = int(found.name)
        assert step in {last, last + 1}
        weights = load_checkpoint(found).tensors["weights"]["w"]
        assert torch.equal(weights, torch.full((20_000,), float(step)))
        left = [entry for entry in (path / "checkpoints").iterdir() if entry.name[0] == "."]
        assert len(left) <= 1


def test_a_run_survives_kill_9_while_saving(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "run", 3)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_run_survives_kill_9_while_saving_many_times(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "run", 200)
