"""Two machines train one run: each has a network, a name and a disk of its own.

Linux namespaces stand for the machines. The second machine does not see the run's directory.
"""

import json
import os
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from keisei.store import find_checkpoint, load_checkpoint

STEPS = 6000
TINY = f"""
device = "cpu"
[run]
steps = {STEPS}
checkpoint_seconds = 0.5
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
UNSHARED = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""Otherwise a machine that replaces another one waits in vain (docs/guide/multi-gpu.md)."""
DEAD_SECONDS = 30
"""After this time, torchrun counts a silent machine as lost."""
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Machines:
    """Two machines, 0 and 1, connected by a cable. Machine 1 sees an empty folder of runs."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        end = uuid.uuid4().hex[:6]
        self._names = [f"keisei-{number}-{end}" for number in range(2)]
        self._cables = [f"k{number}-{end}" for number in range(2)]

    def open(self) -> None:
        for name in self._names:
            ip("netns", "add", name)
        first, second = self._cables
        ip("link", "add", first, "type", "veth", "peer", "name", second)
        for number, (name, cable) in enumerate(zip(self._names, self._cables, strict=True)):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", cable)
            for device in ("lo", cable):
                ip("-n", name, "link", "set", device, "up")

    def close(self) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def train(self, number: int, *arguments: object) -> "subprocess.Popen[str]":
        """Run torchrun with one rank on a machine; at its end, print what its disk holds."""
        command = [
            *TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3",
            "--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29400", "--rdzv-id", "run",
            "--rdzv-conf", f"is_host={1 - number}", "--local-addr", f"10.77.0.{number + 1}",
            "-m", "--", "keisei", "train", *map(str, arguments),
        ]  # fmt: skip
        hide = f"mount -t tmpfs none {shlex.quote(str(self._runs))} && " if number else ""
        shown = f"; code=$?; ls -A {shlex.quote(str(self._runs))}; exit $code" if number else ""
        script = f"hostname machine{number} && {hide}{shlex.join(command)}{shown}"
        inside = ["ip", "netns", "exec", self._names[number], "unshare", "--uts", "--mount"]
        with (self._runs.parent / f"machine{number}.log").open("a") as log:
            return subprocess.Popen(
                [*inside, "sh", "-c", script],
                env=os.environ | UNSHARED | {"GLOO_SOCKET_IFNAME": self._cables[number]},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    runs = tmp_path / "runs"
    runs.mkdir()
    found = Machines(runs)
    try:
        found.open()
    except (OSError, subprocess.CalledProcessError) as error:
        found.close()
        why = getattr(error, "stderr", None) or error
        pytest.skip(f"this machine allows no network namespaces: {why}")
    try:
        yield found
    finally:
        found.close()


def workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Return the processes of a machine that train, without torchrun."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [child for child in below if "RANK" in child.environ()]


def end(process: "subprocess.Popen[str]") -> None:
    """Kill all processes of a machine, as a power cut does."""
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def until(process: "subprocess.Popen[str]", name: str) -> dict[str, Any]:
    """Return the next event of this kind or name that rank 0 prints."""
    assert process.stdout
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if name in {event.get("kind"), event["event"]}:
            return event
    raise AssertionError(f"no {name}")


def last(run: Path, rank: int) -> Any:
    path, refused = find_checkpoint(run)
    assert refused == []
    return load_checkpoint(path, rank)


def test_two_machines_lose_a_process_and_a_machine_and_end_as_if_nothing_had_happened(
    machines: Machines, tmp_path: Path
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(TINY)
    run, whole = tmp_path / "runs" / "run", tmp_path / "whole"
    command = ("--config", config, "--run", run, "--resume", "auto", "--json")
    first, second = (machines.train(number, *command) for number in range(2))
    started: list[subprocess.Popen[str]] = [first, second]
    try:
        until(first, "checkpoint")
        workers(second)[0].kill()
        again = until(first, "started")
        assert again["step"] > 0, "torchrun starts all processes again, from the newest checkpoint"
        until(first, "checkpoint")

        end(second)
        time.sleep(DEAD_SECONDS)
        second = machines.train(1, *command)
        started.append(second)
        assert until(first, "started")["step"] > again["step"]
        until(first, "finished")
        assert first.wait(60) == 0
        assert second.wait(60) == 0
        assert second.stdout
        assert second.stdout.read() == "", "nothing is written on the second machine"
    finally:
        for process in started:
            end(process)

    alone = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "--", "keisei", "train"]
    subprocess.run(
        [*alone, "--config", str(config), "--run", str(whole)], check=True, capture_output=True
    )
    for rank in range(2):
        one, other = last(run, rank), last(whole, rank)
        assert one.step == other.step >= STEPS
        for group, named in one.tensors.items():
            assert all(torch.equal(named[key], other.tensors[group][key]) for key in named), group
