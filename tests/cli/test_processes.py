"""``keisei serve`` and ``keisei train`` as processes: signals, streams, failures, exit codes."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine_tools import fake, lives

from keisei.store import RunDirectory, RunReader, find_checkpoint

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
HANG = """
import keisei.ppo.learner, time
def __init__(self, *arguments):
    time.sleep(60)
keisei.ppo.learner.Learner.__init__ = __init__
"""
HANG_IN_AN_ITERATION = """
import keisei.cli.process, keisei.ppo.learner, time
keisei.cli.process.LEAVE_SECONDS = 5.0
def iterate(self):
    yield
    time.sleep(60)
keisei.ppo.learner.Learner.iterate = iterate
"""
HANG_IN_A_SAVE = """
import keisei.cli.process, keisei.runtime.worker, time
keisei.cli.process.LEAVE_SECONDS = 5.0
def save_checkpoint(*arguments):
    time.sleep(60)
keisei.runtime.saving.save_checkpoint = save_checkpoint
"""
BREAK_SERVER = """
import keisei.server.serve
async def run_server(app, sock, stop):
    raise OSError("no more sockets")
keisei.server.serve.run_server = run_server
"""
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


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    return file


@contextlib.contextmanager
def keisei(*arguments: object, patch: str = "") -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own, ``patch`` run before it."""
    code = f"import sys\n{patch}\nfrom keisei.cli.main import main\nsys.exit(main())"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found
    return found[0]


def streamed(response: HTTPResponse) -> Iterator[tuple[str, dict[str, object]]]:
    """Events of a stream, to its end."""
    kind = ""
    for line in response:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return
    pytest.fail("".join(seen))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_sigint_ends_streams_with_bye_saves_and_exits_0_and_the_run_goes_on(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with keisei("serve", "--config", config, "--port", 0, "--run", run) as process:
        url = address(process) + "api/events?topics=status,metrics"
        with urllib.request.urlopen(url, timeout=100) as response:
            events = streamed(response)
            next(event for event in events if event[0] == "iteration")
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            kinds = [kind for kind, _ in events]
        assert kinds[-1] == "bye"
        assert "stopped" in kinds
        assert process.wait(20) == 0
        assert time.monotonic() - began <= 5
    newest, refused = find_checkpoint(run)
    assert refused == []
    log = [json.loads(line) for line in (run / "keisei.log").read_text().splitlines()]
    assert {"iteration", "stopped"} <= {line["event"] for line in log}

    step = int(newest.name)
    resume = ["train", "--config", config, "--run", run, "--resume", "--run.steps", step + 64]
    with keisei(*resume, "--json") as process:
        out, error = process.communicate(timeout=100)
    assert process.returncode == 0, error
    told = [json.loads(line) for line in out.splitlines()]
    assert next(e for e in told if e["event"] == "iteration")["step"] == step + 64
    assert told[-1]["event"] == "finished"
    series = RunReader(run).metrics(["train/kl"])["series"]["train/kl"]
    assert series["step"][-1] == step + 64


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_start_up_is_an_orderly_stop(
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
def test_a_reader_that_leaves_ends_the_run_in_good_order(config: Path, tmp_path: Path) -> None:
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
def test_a_failure_is_served_until_a_signal(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["serve", "--config", config, "--port", 0, "--run", run]
    with keisei(*command, patch=BREAK) as process:
        base = address(process)
        with urllib.request.urlopen(base + "api/events?topics=status", timeout=100) as response:
            failed = next(data for kind, data in streamed(response) if kind == "failed")
        assert failed["message"] == "the third gear is gone"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(base + "readyz", timeout=10)
        with urllib.request.urlopen(base + "api/status", timeout=10) as response:
            assert json.load(response)["state"] == "failed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_second_signal_forces_the_end_and_shows_what_hung(config: Path, tmp_path: Path) -> None:
    command = ["train", "--config", config, "--run", tmp_path / "run"]
    with keisei(*command, patch=HANG) as process:
        wait_for_line(process, "compiling")
        process.send_signal(signal.SIGINT)
        wait_for_line(process, "once more to force")
        time.sleep(0.6)  # else it would be the echo of the first
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
    with RunDirectory.open(run):  # it is not locked any more
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
        wait_for_line(process, "running")
        time.sleep(2)
        if by == "signal":
            process.send_signal(signal.SIGTERM)
        else:
            request = urllib.request.Request(base + "api/control/stop", method="POST")
            urllib.request.urlopen(request, timeout=10).close()
        _, error = process.communicate(timeout=20)
        assert process.returncode == 1, error
        assert hung in error


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_training_goes_on_without_its_server(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["serve", "--config", config, "--port", 0, "--run", run, "--run.steps", 640]
    with keisei(*command, patch=BREAK_SERVER) as process:
        timer = threading.Timer(100, process.kill)
        timer.start()
        wait_for_line(process, "no more sockets")
        wait_for_line(process, "finished")
        timer.cancel()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert find_checkpoint(run)[0].name.lstrip("0") == "640"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_on_a_terminal_there_is_a_panel(config: Path, tmp_path: Path) -> None:
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
    with contextlib.suppress(OSError):  # how a terminal says that its other side is gone
        while chunk := os.read(screen, 4096):
            shown += chunk
    os.close(screen)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, shown.decode()
    assert "256 steps" in shown.decode()
    assert out.startswith("finished at step 256: ")


GAMES = 2048
"""Of an evaluation that is to be interrupted: it takes several tables of games, one after another."""


def asked(url: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    """The answer to a GET, or to a POST of ``body``."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=100) as response:
        found: dict[str, Any] = json.load(response)
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_in_mid_evaluation_the_server_plays_on_when_resumed(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def played(id: str) -> dict[int, dict[str, Any]]:
        return {game["number"]: game for game in RunReader(run).match_games(id, limit=GAMES)}

    serve = ("serve", "--config", config, "--port", 0, "--run", run, "--evaluation.max_ply", 60)
    share = ("--evaluation.share", 0.5)
    engine = f"usi:{fake('until-stop', tmp_path).path}?movetime=60000"  # it never moves
    named = ("--evaluation.engines", json.dumps({"slow": engine}))
    with keisei(*serve, *share, *named) as process:
        url = address(process) + "api/eval"
        asked(url, {"opponent": "slow", "games": 2})
        heard = tmp_path / "heard"
        while not heard.exists() or "go" not in heard.read_text():
            time.sleep(0.05)
        id = asked(url, {"opponent": "random", "games": GAMES})["id"]
        while len(before := played(id)) < 40:
            assert asked(f"{url}/{id}?wait=0.1")["state"] in {"queued", "running"}
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.kill()
        while any(lives(child.pid) for child in children):  # else the test's time runs out
            time.sleep(0.05)
    with keisei(*serve, *share, "--resume") as process:
        base = address(process)
        while (found := asked(f"{base}api/eval/{id}?wait=60"))["state"] != "done":
            assert found["state"] in {"queued", "running"}, found
        step = asked(f"{base}api/status")["step"]
        while asked(f"{base}api/status")["step"] <= step:  # training goes on
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    after = played(id)
    assert found["result"]["games"] == len(after) == GAMES
    assert found["result"]["agent"] == f"run@{found['measured']}"
    pairs = [number for number in before if number ^ 1 in before]
    assert pairs
    assert all(after[number] == before[number] for number in pairs), "they were played again"


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
def test_a_sink_that_fails_is_told_once_on_stderr(
    patch: str, flags: list[str], said: str, config: Path, tmp_path: Path
) -> None:
    command = ["train", "--config", config, "--run", tmp_path / "run", "--run.minutes", 0.1, *flags]
    with keisei(*command, patch=patch) as process:
        stderr = process.communicate(timeout=100)[1]
        assert process.returncode == 0
    told = [line for line in stderr.splitlines() if said in line]
    assert len(told) == 4, "three restarts, and that it was given up"
    assert "given up" in told[3]
