"""Processes of the command ``keisei`` that start in a fraction of a second, for tests of faults.

A server process imports Keisei and compiles its kernels once. Each run is a fork of this server.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TINY = """
[run]
steps = {steps}
checkpoint_seconds = 0.001
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
[compute]
dtype = "float32"
threads = 1
"""

_SERVER = """
import json, os, signal, sys, traceback
from keisei.process import prepare_process
prepare_process()
from keisei.cli import process
process.keep_kernels()
import anyio._backends._asyncio, torch
import keisei.cli.progress, keisei.cli.serve, keisei.runtime.session, keisei.runtime.follower
from keisei.cli.main import main
from keisei.config import Settings
from keisei.ppo.learner import Learner
torch.set_num_threads(1)
small = Settings.load(None, {"env.games": 8, "env.reset_pool": 16, "net.blocks": 1, "net.channels": 8})
learner = Learner(small, torch.device("cpu"), torch.float32)
learner._tally.begin()  # as `iterate` does
learner.play()
learner.board()
learner.env.close()
del learner

def run(order):
    if order["orphan"] and os.fork():
        signal.pause()
    for number, name in enumerate((os.devnull, order["stdout"], order["stderr"])):
        flags = os.O_RDWR if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(name, flags, 0o666), number)
    os.environ.update(order["environment"])
    sys.argv = ["keisei", *order["words"]]
    exec(order["patch"], {"__name__": "patch"})
    return main()

print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        found, status, used = os.wait4(order["wait"], os.WNOHANG)
        ended = os.waitstatus_to_exitcode(status), used.ru_maxrss / 1024
        print(*ended if found else (), flush=True)
    elif child := os.fork():
        print(child, flush=True)
    else:
        sys.stdin = open(os.devnull)
        sys.exit(run(order))
"""


class ForkServer:
    """Starts processes of ``keisei`` as forks of one process that has imported everything."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def start(
        self,
        folder: Path,
        *words: object,
        patch: str = "",
        orphan: bool = False,
        stdout: Path | None = None,
        **environment: str,
    ) -> "Forked":
        """Run ``keisei`` with these words. ``folder`` gets the files ``stdout`` and ``stderr``.

        ``patch`` is executed in the new process before the command. With ``orphan``, the returned
        process is the parent of the command's process.
        """
        out, error = stdout or folder / "stdout", folder / "stderr"
        for file in {out, error} - {stdout}:
            file.write_text("")
        order = {
            "words": [str(word) for word in words],
            "patch": patch,
            "orphan": orphan,
            "stdout": str(out),
            "stderr": str(error),
            "environment": environment,
        }
        return Forked(self, int(self.ask(order)), out, error)

    def ask(self, order: dict[str, Any]) -> str:
        """Send an order and return the answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.communicate()


class Forked:
    """A process of the command ``keisei``."""

    def __init__(self, server: ForkServer, pid: int, stdout: Path, stderr: Path) -> None:
        self.pid, self._server, self._stdout, self._stderr = pid, server, stdout, stderr
        self._code: int | None = None
        self.peak_mib = 0.0
        """Largest resident memory, known after the end of the process."""

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        if self._code is None and (answer := self._server.ask({"wait": self.pid})):
            code, peak = answer.split()
            self._code, self.peak_mib = int(code), float(peak)
        return self._code

    def wait(self, seconds: float = 40) -> int:
        """Wait for the end of the process; return its exit code."""
        self.until(lambda: self.poll() is not None, seconds)
        assert self._code is not None
        return self._code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """End the process in order. Returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    @property
    def errors(self) -> str:
        """Everything that the process wrote on standard error."""
        return self._stderr.read_text()

    def events(self) -> list[dict[str, Any]]:
        """Return the events that a command with ``--json`` has printed so far."""
        return [json.loads(line) for line in self._stdout.read_text().splitlines(keepends=True)
                if line.endswith("\n")]  # fmt: skip

    def until(self, done: Callable[[], object], seconds: float = 40, pause: float = 0.002) -> None:
        """Wait until ``done()`` is true. The process may have ended by then."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"waited {seconds} s in vain: {self.errors}"
            time.sleep(pause)

    def event(self, name: str, skip: int = 0, /, **fields: object) -> dict[str, Any]:
        """Wait for an event after the first ``skip`` events, and return it.

        A field that is a text must occur in the event's field.
        """

        def matching() -> Iterator[dict[str, Any]]:
            for event in self.events()[skip:]:
                if event["event"] == name and all(
                    str(value) in str(event[key]) for key, value in fields.items()
                ):
                    yield event

        self.until(lambda: any(matching()) or self.poll() is not None, pause=0.02)
        found = next(matching(), None)
        assert found, f"no {name} {fields}: {self.errors}"
        return found


Train = Callable[..., Forked]
"""Type of the fixture ``train``."""
