"""What a run is told before it starts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fake_learner import FakeLearner
from keisei import Keisei, Settings
from keisei.config import Run

async def train():
    run = Path(sys.argv[3]) if sys.argv[3] else None
    settings = Settings(run=Run(root=Path(sys.argv[2])))
    async with Keisei(settings, run=run, _learner=FakeLearner) as keisei:
        await anext(keisei.events({"metrics"}))
        alerts = [event["message"] for event in keisei.history() if event["event"] == "alert"]
        print(json.dumps(alerts), flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(train())
"""


def worker(root: Path, run: str = "", *, shell: bool = False) -> "subprocess.Popen[str]":
    """A process that trains until its standard input closes; from a shell of its own or from us."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", WORKER, here, str(root), run]
    if shell:
        command = ["bash", "-c", '"$@"; exit $?', "bash", *command]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("run", "shell", "told"), [("", False, 1), ("", True, 0), ("named", False, 0)]
)
def test_a_second_worker_of_one_server_is_told_that_it_trains_a_run_of_its_own(
    run: str, shell: bool, told: int, tmp_path: Path
) -> None:
    with worker(tmp_path) as first, worker_after(first, tmp_path, run, shell) as second:
        assert second.stdout is not None
        alerts = json.loads(second.stdout.readline())
        assert sum("another process of the same server trains" in text for text in alerts) == told
        for process in (second, first):
            assert process.stdin is not None
            process.stdin.close()


def worker_after(
    first: "subprocess.Popen[str]", root: Path, run: str, shell: bool
) -> "subprocess.Popen[str]":
    """A second process, once the first one trains."""
    assert first.stdout is not None
    assert json.loads(first.stdout.readline()) == []
    return worker(root, str(root / run) if run else "", shell=shell)
