"""Run the command line in a separate process, for tests of several commands."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

TINY = """
[run]
checkpoint_seconds = 1
[env]
games = 8
reset_pool = 16
[net]
blocks = 1
channels = 8
[ppo]
rollout_plies = 8
minibatch = 64
[compute]
dtype = "float32"
threads = 1
"""

BREAK = """
import keisei.ppo.learner
def iterate(self):
    yield
    raise ValueError("the third gear is gone")
keisei.ppo.learner.Learner.iterate = iterate
"""
"""The first iteration raises."""

HANG = """
import keisei.ppo.learner, time
def __init__(self, *arguments):
    time.sleep(60)
keisei.ppo.learner.Learner.__init__ = __init__
"""
"""The learner is built for a minute, as if it compiled."""


@contextlib.contextmanager
def keisei(*arguments: object, patch: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run the command line in a separate process, after ``patch``."""
    code = f"import sys\n{patch}\nfrom keisei.cli.main import main\nsys.exit(main())"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def terminal_as_stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Make stderr a terminal. After the block, the list contains the text that was shown."""
    master, slave = pty.openpty()
    shown: list[str] = []
    with os.fdopen(master, "rb", buffering=0) as terminal:
        with os.fdopen(slave, "w") as screen, monkeypatch.context() as patch:
            patch.setattr("sys.stderr", screen)
            yield shown
        with contextlib.suppress(OSError):  # the end of a terminal that nobody writes to
            while chunk := terminal.read(1 << 16):
                shown.append(chunk.decode())


def address(process: subprocess.Popen[str]) -> str:
    """Return the URL that a serving process prints."""
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found
    return found[0]


def streamed(response: HTTPResponse) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the events of a stream until its end."""
    kind = ""
    for line in response:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Read stderr up to a line with ``text``. Fails the test if stderr ends before."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return
    pytest.fail("".join(lines))
