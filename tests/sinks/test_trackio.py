"""What trackio's own reader finds is what the database has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trackio")

SCRIPT = """
import asyncio, json, socket, sys
from pathlib import Path
sys.path.insert(0, "tests/runtime")
from run_tools import Learners
from keisei import Keisei, Settings
from keisei.store import RunReader

def refuse(*arguments):
    raise AssertionError("the network was used")
socket.socket.connect = socket.getaddrinfo = refuse

async def main(root):
    for steps, resume in ((300, False), (600, True)):
        settings = Settings.load(
            None, {"run.root": root, "run.steps": steps, "plugins.sinks": "trackio"}
        )
        async with Keisei(settings, resume=resume, _learner=Learners()) as keisei:
            await keisei.wait()
            assert keisei.status().degraded == (), keisei.status().degraded
    return keisei

keisei = asyncio.run(main(Path(sys.argv[1])))
from trackio.sqlite_storage import SQLiteStorage
from keisei.events import Iteration
from keisei.sinks.trackio import TrackioSink
from keisei import RunInfo
again = Iteration(run=keisei.run.id, step=600, time=1.0, iteration=6, values={"train/kl": 9.0})
info = RunInfo(keisei.run.id, keisei.run.path, keisei.settings, 300, print)
TrackioSink(info).write_blocking([again])
rows = SQLiteStorage.get_logs("keisei", keisei.run.id)
assert [row["step"] for row in rows] == [100, 200, 300, 400, 500, 600], rows
for key, line in RunReader(keisei.run.path).metrics()["series"].items():
    assert [row[key] for row in rows] == line["value"], key
assert SQLiteStorage.get_run_config("keisei", keisei.run.id)["ppo"]["gamma"] == 0.98
"""


def test_trackio_has_the_database_s_metrics_once_after_a_resume_and_uses_no_network(
    tmp_path: Path,
) -> None:
    """In a process of its own, because trackio reads ``TRACKIO_DIR`` when it is imported."""
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "runs")],
        env=os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio")},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "", "trackio printed on stdout, which --json needs"
