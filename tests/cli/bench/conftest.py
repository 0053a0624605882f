"""What the tests of the benchmarks share: a tiny configuration, and a way to run a benchmark."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TINY = """
[env]
games = 8
max_ply = 64
reset_pool = 16
reset_refresh = 4
[net]
blocks = 1
channels = 8
[ppo]
rollout_plies = 8
minibatch = 64
[opponents]
share = 0.25
[compute]
dtype = "float32"
threads = 1
"""

Bench = Callable[..., dict[str, Any]]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def bench() -> Bench:
    """Run a benchmark in a separate process, because benchmarks set up their whole process."""

    def run(*words: object) -> dict[str, Any]:
        command = [sys.executable, "-m", "keisei", "bench", *map(str, words), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert {"machine", "versions"} <= report.keys()
        return report

    return run
