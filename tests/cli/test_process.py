"""Signals and stops of the commands that train."""

import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from command_process import HANG, address, keisei, wait_for_line

from keisei.store import RunDirectory

HANG_IN_AN_ITERATION = """
import keisei.cli.process, keisei.ppo.learner, sys, time
keisei.cli.process.LEAVE_SECONDS = 5.0
def iterate(self):
    yield
    print("it hangs", file=sys.stderr, flush=True)
    time.sleep(60)
keisei.ppo.learner.Learner.iterate = iterate
"""

HANG_IN_A_SAVE = """
import keisei.cli.process, keisei.runtime.worker, sys, time
keisei.cli.process.LEAVE_SECONDS = 5.0
def save_checkpoint(*arguments):
    print("it hangs", file=sys.stderr, flush=True)
    time.sleep(60)
keisei.runtime.saving.save_checkpoint = save_checkpoint
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_stops_the_run_in_good_order(
    config: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = ["serve", "--config", config, "--port", 0, "--run", tmp_path / "run"]
    with keisei(*command) as process:
        address(process)
        process.send_signal(number)
        _, error = process.communicate(timeout=100)
    assert process.returncode == 0, error
    assert "Traceback" not in error


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_second_signal_forces_the_end_and_shows_what_hung(config: Path, tmp_path: Path) -> None:
    command = ["train", "--config", config, "--run", tmp_path / "run"]
    with keisei(*command, patch=HANG) as process:
        wait_for_line(process, "compiling")
        process.send_signal(signal.SIGINT)
        wait_for_line(process, "send the signal again to end at once")
        time.sleep(0.6)  # longer than ECHO_SECONDS, within which it would count as the first
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "in __init__" in error


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", ["train", "serve"])
def test_a_stop_does_not_wait_for_a_compile(command: str, config: Path, tmp_path: Path) -> None:
    options = ["--port", 0] if command == "serve" else []
    run = tmp_path / "run"
    with keisei(command, "--config", config, "--run", run, *options, patch=HANG) as process:
        wait_for_line(process, "compiling")
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=20)  # HANG lasts for 60 seconds
        assert process.returncode == 0, error
    assert "Traceback" not in error
    assert '"stopped"' in (run / "keisei.log").read_text()
    with RunDirectory.open(run):  # the lock is free
        pass


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("patch", "by", "hung"),
    [
        (HANG_IN_AN_ITERATION, "signal", "in iterate"),
        (HANG_IN_A_SAVE, "signal", "in save_checkpoint"),
        (HANG_IN_AN_ITERATION, "request", "in iterate"),
    ],
)
def test_a_stop_that_takes_too_long_shows_what_hung_and_is_exit_1(
    patch: str, by: str, hung: str, config: Path, tmp_path: Path
) -> None:
    command = ["serve", "--config", config, "--port", 0, "--run", tmp_path / "run"]
    with keisei(*command, patch=patch) as process:
        base = address(process)
        wait_for_line(process, "it hangs")
        if by == "signal":
            process.send_signal(signal.SIGTERM)
        else:
            request = urllib.request.Request(base + "api/control/stop", method="POST")
            urllib.request.urlopen(request, timeout=10).close()
        _, error = process.communicate(timeout=20)
        assert process.returncode == 1, error
        assert hung in error
