"""``torchrun -m keisei``: two processes train one run."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from keisei.store import RunReader, find_checkpoint, load_checkpoint

TINY = """
device = "cpu"
[run]
checkpoint_seconds = 1
[env]
games = 8
max_ply = 32
reset_pool = 16
[net]
blocks = 1
channels = 8
[ppo]
rollout_plies = 8
minibatch = 16
[opponents]
every = 3
[compute]
dtype = "float32"
threads = 1
"""
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SCRIPT = "import sys\n{patch}\nfrom keisei.cli.main import main\nsys.exit(main())"

TROUBLES = """
import os
import keisei.ppo.checkpoint as checkpoint
import keisei.ppo.learner as learner
import keisei.runtime.follower as follower
from keisei.ppo.detectors import Detectors, Finding
checkpoint.RANK_GROUPS = ("env", "pool", "weights", "optimizer")  # rank 1 tells what it has, too
check = Detectors.check
def complain(self, values):
    self.count = getattr(self, "count", 0) + 1
    return [*check(self, values)] + [Finding("draws", "warning", "!", "rollback")] * (self.count == 6)
Detectors.check = complain
write_part = follower.write_part
def full(*arguments):
    follower.write_part = write_part
    raise OSError(28, "No space left on device")
if os.environ["RANK"] == "1":
    follower.write_part = full
    learner.Learner.compile_failure = "no C++ compiler"
"""
"""Iteration 6 ends in a rollback. Rank 1 finds no disk space for its files of the first checkpoint,
and
cannot compile the network."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    return file


@contextlib.contextmanager
def two_ranks(
    *arguments: object, patch: str = "", folder: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run ``keisei`` in two processes under torchrun, each after ``patch``. End both at exit."""
    program = ["-m", "--", "keisei"]  # without the -- torchrun reads --run as its own --run-path
    if folder:
        (folder / "patched.py").write_text(SCRIPT.format(patch=patch))
        program = ["--", str(folder / "patched.py")]
    pipe = subprocess.PIPE
    command = [*TORCHRUN, *program, *map(str, arguments)]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            for child in psutil.Process(process.pid).children() if process.poll() is None else ():
                child.kill()
            process.kill()


def rank(process: subprocess.Popen[str], number: int) -> psutil.Process:
    children = psutil.Process(process.pid).children()
    return next(child for child in children if child.environ().get("RANK") == str(number))


def train(*arguments: object) -> tuple[int, str, str]:
    """Train with two ranks. Returns the exit code, stdout and stderr."""
    with two_ranks("train", *arguments) as process:
        out, error = process.communicate(timeout=150)
    return process.returncode, out, error


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def newest(run: Path, number: int = 0) -> Any:
    path, refused = find_checkpoint(run)
    assert refused == []
    return load_checkpoint(path, number)


def equal(one: Any, other: Any, group: str) -> bool:
    mine, theirs = one.tensors[group], other.tensors[group]
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_a_resumed_run_equals_one_never_stopped_and_only_two_ranks_may_resume_it(
    config: Path, tmp_path: Path
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    for run, steps, more in ((whole, 900, ()), (part, 400, ()), (part, 900, ("--resume",))):
        code, out, error = train(
            "--config", config, "--run", run, "--run.steps", steps, "--json", *more
        )
        assert code == 0, error
        printed = events(out)
        assert printed[-1]["event"] == "finished", "only rank 0 prints, and it finishes"
        iterations = [event for event in printed if event["event"] == "iteration"]
        assert iterations[0]["step"] > 64 or more, "the plies of both ranks count"
    for number in range(2):
        straight, resumed = newest(whole, number), newest(part, number)
        assert straight.step == resumed.step >= 900
        for group in straight.tensors:
            assert equal(straight, resumed, group), (number, group)
        assert straight.state["generators"] == resumed.state["generators"]
    assert not equal(newest(whole, 0), newest(whole, 1), "env"), "each rank has its own games"
    kept = RunReader(whole).metrics(["train/kl"])["series"]["train/kl"]["step"]
    assert kept == sorted(set(kept)), "one process writes the database"

    alone = [sys.executable, "-m", "keisei", "train", "--run", str(part), "--resume"]
    refused = subprocess.run(alone, capture_output=True, text=True, timeout=100, check=False)
    assert refused.returncode == 2
    assert "number of ranks: 2 when it was saved, 1 now" in refused.stderr

    code, _, error = train(
        "--config", config, "--run", tmp_path / "new", "--init", part, "--run.steps", 1,
        "--ppo.learning_rate", 1e-12,
    )  # fmt: skip
    assert code == 0, error
    for name, value in newest(tmp_path / "new").tensors["weights"].items():
        torch.testing.assert_close(value, newest(part).tensors["weights"][name])


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=100) as response:
        return json.load(response)


def post(url: str, body: Any = None) -> None:
    headers = {"content-type": "application/json"}
    data = json.dumps(body).encode() if body else b""
    urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=100).close()


def wait_until(condition: Any) -> None:
    """Wait for a condition; the test's timeout limits the time."""
    while not condition():
        time.sleep(0.05)


def test_serve_pauses_saves_evaluates_resumes_and_stops_at_sigterm(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with two_ranks("serve", "--config", config, "--run", run, "--port", 0) as process:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        ranks = [rank(process, number) for number in range(2)]
        wait_until(lambda: get(url + "api/status")["iteration"] >= 2)
        post(url + "api/control/pause")
        wait_until(lambda: get(url + "api/status")["state"] == "paused")
        saved = get(url + "api/status")["checkpoint"]
        post(url + "api/control/checkpoint")
        wait_until(lambda: get(url + "api/status")["checkpoint"] not in {None, saved})
        held = get(url + "api/status")["step"]
        post(url + "api/eval", {"opponent": "random", "games": 2})
        wait_until(lambda: get(url + "api/eval")["evaluations"][0]["state"] == "done")
        assert get(url + "api/status")["step"] == held
        post(url + "api/control/resume")
        wait_until(lambda: get(url + "api/status")["step"] > held + 500)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert not any(one.is_running() for one in ranks)
    log = [json.loads(line) for line in (run / "keisei.log").read_text().splitlines()]
    assert "stopped" in {line["event"] for line in log}
    assert newest(run, 0).state["step"] == newest(run, 1).state["step"] > held


def test_both_ranks_meet_troubles_together_and_sigint_to_rank_0_ends_both_in_good_order(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    often = ("--run.checkpoint_seconds", 0.01)
    command = ("train", "--config", config, "--run", run, "--json", *often)
    with two_ranks(*command, patch=TROUBLES, folder=tmp_path) as process:
        assert process.stdout
        names: list[str] = []
        while names.count("iteration") < 8:
            event = json.loads(process.stdout.readline())
            names.append(event.get("name", event["event"]))
            if names[-1] == "compile":
                assert event["message"] == "rank 1 runs uncompiled: no C++ compiler"
        assert "rollback" in names
        assert "compile" in names
        assert "checkpoint_failed" in names, "training goes on without it"
        os.kill(rank(process, 0).pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    first, second = newest(run, 0), newest(run, 1)
    assert (first.path / "weights.1.safetensors").exists()
    assert equal(first, second, "weights")
    assert equal(first, second, "optimizer")


@pytest.mark.parametrize("number", [0, 1])
def test_when_one_rank_is_killed_the_other_ends_with_an_error(
    config: Path, tmp_path: Path, number: int
) -> None:
    run = tmp_path / "run"
    with two_ranks("train", "--config", config, "--run", run, "--json") as process:
        assert process.stdout
        while json.loads(process.stdout.readline())["event"] != "iteration":
            pass
        ranks = [rank(process, each) for each in range(2)]
        ranks[number].kill()
        _, error = process.communicate()
    assert process.returncode == 1
    assert f"rank {1 - number} of 2: another rank has died" in error
    assert not any(one.is_running() for one in ranks)
