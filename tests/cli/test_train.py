"""``keisei train``: its output and its exit codes."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_process import BREAK, keisei

from keisei.store import find_checkpoint

BREAK_A_SINK = """
import keisei.feed.sinks
async def write(self, events):
    raise OSError("no more tape")
keisei.feed.sinks.LogSink.write = write
"""

BREAK_PROGRESS = """
import keisei.cli.progress
def show(self, event):
    raise ValueError("cannot draw")
keisei.cli.progress._Lines.show = show
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_closed_pipe_ends_the_run_in_good_order(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with keisei("train", "--config", config, "--run", run, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while json.loads(process.stdout.readline())["event"] != "iteration":
            pass
        process.stdout.close()
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()
    assert find_checkpoint(run)[1] == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_log_that_cannot_be_written_is_exit_3(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    break_log = """
from keisei.log import Logging
def add_file(self, path):
    raise PermissionError(13, "Permission denied", str(path))
Logging.add_file = add_file
"""
    with keisei("train", "--config", config, "--run", run, patch=break_log) as process:
        _, error = process.communicate(timeout=100)
    assert process.returncode == 3
    assert error.splitlines()[-1] == f"keisei: {run / 'keisei.log'}: Permission denied"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_failure_is_exit_1_with_the_reason_and_the_traceback_in_the_log(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with keisei("train", "--config", config, "--run", run, patch=BREAK) as process:
        _, error = process.communicate(timeout=100)
    assert process.returncode == 1
    last = error.splitlines()[-1]
    assert "ValueError: the third gear is gone" in last
    assert str(run / "keisei.log") in last
    log = (run / "keisei.log").read_text()
    assert "in iterate" in log


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_terminal_shows_a_panel(config: Path, tmp_path: Path) -> None:
    screen, terminal = os.openpty()
    command = ["train", "--config", config, "--run", tmp_path / "run", "--run.steps", 256]
    process = subprocess.Popen(
        [sys.executable, "-m", "keisei", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    os.close(terminal)
    shown = bytearray()
    with contextlib.suppress(OSError):  # a terminal raises it when its other side closes
        while chunk := os.read(screen, 4096):
            shown += chunk
    os.close(screen)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, shown.decode()
    assert "256 steps" in shown.decode()
    assert out.startswith("finished at step 256: ")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("patch", "flags", "said"),
    [
        (BREAK_A_SINK, [], "sink log: OSError: no more tape"),
        (BREAK_A_SINK, ["--json"], "sink log: OSError: no more tape"),
        (BREAK_PROGRESS, [], "sink progress: ValueError: cannot draw"),
    ],
)
def test_every_failure_of_a_sink_is_reported_once_on_stderr(
    patch: str, flags: list[str], said: str, config: Path, tmp_path: Path
) -> None:
    command = ["train", "--config", config, "--run", tmp_path / "run", "--run.minutes", 0.1, *flags]
    with keisei(*command, patch=patch) as process:
        stderr = process.communicate(timeout=100)[1]
        assert process.returncode == 0
    reported = [line for line in stderr.splitlines() if said in line]
    assert len(reported) == 4, "three restarts, then the end of the sink"
    assert "given up" in reported[3]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_with_json_logs_every_line_on_stderr_is_json(config: Path, tmp_path: Path) -> None:
    arguments = ("train", "--config", config, "--run", tmp_path / "run", "--run.steps", 200)
    with keisei(*arguments, "--log.format", "json") as process:
        _, error = process.communicate(timeout=100)
    assert process.returncode == 0
    events = [json.loads(line)["event"] for line in error.splitlines()]
    assert {"started", "iteration", "finished"} <= {*events}
