"""Two runs in a program of somebody else's, served by its own stock uvicorn."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from keisei.store import find_checkpoint

HOST = Path(__file__).with_name("embed_host.py")


@pytest.fixture
def port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def host(port: int, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HOST), str(port), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def wait_until_served(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_two_runs_in_a_host_end_with_it_and_leave_no_trace(
    host: subprocess.Popen[str], port: int, tmp_path: Path
) -> None:
    wait_until_served(port)
    got: list[list[bytes]] = [[] for _ in range(5)]
    with ExitStack() as streams:
        readers = []
        for number, lines in enumerate(got):
            name = ("one", "two")[number % 2]
            url = f"http://127.0.0.1:{port}/{name}/api/events"
            stream = streams.enter_context(urllib.request.urlopen(url, timeout=100))

            def read(stream: Iterator[bytes] = stream, lines: list[bytes] = lines) -> None:
                lines.extend(stream)

            readers.append(threading.Thread(target=read))
            readers[-1].start()
        deadline = time.monotonic() + 100
        while not all(any(b"event: iteration" in line for line in lines) for lines in got):
            assert time.monotonic() < deadline, got
            time.sleep(0.05)
        begin = time.monotonic()
        host.send_signal(signal.SIGTERM)
        out, _ = host.communicate(timeout=20)
        took = time.monotonic() - begin
        for reader in readers:
            reader.join(5)
    assert host.returncode == 0
    for lines in got:
        assert [line for line in lines if line.startswith(b"event: ")][-1] == b"event: bye\r\n"
    assert took <= 3, f"{took:.1f} s"
    report = json.loads(out)
    assert report["inside"], "entering or leaving a run changed something of the process"
    assert report["after"]
    opened, left = report["files"]
    assert left == opened
    assert report["threads"] == ["MainThread"]
    runs = list(tmp_path.glob("*/run.toml"))
    assert len(runs) == 2
    for run in runs:
        path, refused = find_checkpoint(run.parent)
        assert int(path.name) > 0
        assert refused == []
