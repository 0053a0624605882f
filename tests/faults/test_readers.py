"""Many readers of the event stream: some never read, and some come and go."""

import asyncio
import contextlib
import json
import re
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from attacked import Service, many_descriptors, service

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

STREAM = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
READERS, ADMITTED = 1000, 256
ROUNDS, SECONDS = 6, 60


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Let this process open enough sockets for all clients."""
    with many_descriptors():
        yield


@contextlib.contextmanager
def readers(port: int, number: int) -> Iterator[list[socket.socket]]:
    """Open event streams whose clients never read, and have little memory in the kernel."""
    opened = []
    for _ in range(number):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(STREAM)
        opened.append(client)
    try:
        yield opened
    finally:
        for client in opened:
            client.close()


def kernel_bytes(port: int) -> list[int]:
    """Return the kernel's memory of each of the service's connections."""
    command = ["ss", "-tmnH", "state", "all", f"sport = :{port}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"skmem:\(r([0-9]+),rb[0-9]+,t([0-9]+),tb[0-9]+,f([0-9]+),w([0-9]+)", text)
    return [sum(int(part) for part in parts) for parts in found]


def status_of(client: socket.socket) -> bytes:
    """Return the status that a client got, without reading more; empty: none."""
    client.settimeout(0.5)
    with contextlib.suppress(OSError):
        return client.recv(12)[-3:]
    return b""


def test_1000_readers_that_never_read_cost_little_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    delays: list[float] = []
    with service(tmp_path / "run") as served:
        served.speed(10)
        rss, files = served.rss_mib, served.descriptors
        most_rss, most_kernel, most_open = rss, 0, 0
        with readers(served.port, READERS) as clients:
            for _ in range(60):
                delays += served.speed(1)[1]
                most_rss = max(most_rss, served.rss_mib)
                most_kernel = max([most_kernel, *kernel_bytes(served.port)])
                most_open = max(most_open, served.get("/api/status")["clients"])
            since = time.monotonic()
            while served.descriptors > files + 2 and time.monotonic() - since < 60:
                time.sleep(0.2)
            gone = time.monotonic() - since
            # The kernel drops what a client with a full buffer did not read, so some got no answer.
            answers = [status_of(client) for client in clients]
    with capsys.disabled():
        print(f"\n{most_open} streams at most; {answers.count(b'503')} clients were refused by 503")
        print(f"RSS +{most_rss - rss:.1f} MiB; kernel at most {most_kernel / 1024:.0f} KiB each")
        print(f"descriptors at {files} again {gone:.1f} s after the 60 s")
        print(f"/healthz p99 {np.percentile(delays, 99) * 1000:.0f} ms of {len(delays)}")
    assert most_open == ADMITTED
    assert answers.count(b"503") == READERS - ADMITTED
    assert most_rss - rss <= 64
    assert most_kernel <= 256 * 1024
    assert gone <= 45
    assert np.percentile(delays, 99) <= 0.25


def test_1000_readers_that_never_read_do_not_slow_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios = []
    with service(tmp_path / "run") as served:
        for number in range(ROUNDS):
            speeds = {}
            for crowded in (False, True) if number % 2 else (True, False):
                with readers(served.port, READERS if crowded else 0):
                    speeds[crowded], _ = served.speed(SECONDS)
            ratios.append(speeds[True] / speeds[False])
    with capsys.disabled():
        shown = " ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"\nsteps/s, with / without: {shown}; median {np.median(ratios):.3f}")
    assert np.median(ratios) >= 0.99


def lines_of(served: Service) -> int:
    """Return the number of lines in the log and on stderr, except those about training."""
    lines = [json.loads(line) for line in (served.run / "keisei.log").read_text().splitlines()]
    others = [line for line in lines if line["event"] not in {"iteration", "checkpoint"}]
    return len(others) + served.errors.read_text().count("\n")


def test_300_clients_leave_descriptors_for_checkpoints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    most_lines, most_files, age = 0.0, 0, 0.0
    with service(tmp_path / "run", descriptors=128) as served:
        saved = len(list(served.run.glob("checkpoints/0*")))
        until = time.monotonic() + 30
        newest = 0.0
        while time.monotonic() < until:
            with readers(served.port, 300):
                before, since = lines_of(served), time.monotonic()
                while time.monotonic() - since < 5:
                    assert served.get("/healthz")
                    assert served.get("/readyz")["status"] == "ready"
                    most_files = max(most_files, served.descriptors)
                    newest = max(
                        path.stat().st_mtime
                        for path in served.run.glob("checkpoints/0*/manifest.json")
                    )
                    age = max(age, time.time() - newest)
                    time.sleep(0.1)
                most_lines = max(most_lines, (lines_of(served) - before) / 5)
        since = time.monotonic()
        while True:
            with contextlib.suppress(OSError):
                if served.get("/api/status")["clients"] == 0:
                    break
            time.sleep(0.05)
        recovered = time.monotonic() - since
        log = (served.run / "keisei.log").read_text()
    with capsys.disabled():
        print(f"\nat most {most_files} of 128 descriptors; {most_lines:.1f} log lines a second")
        print(f"oldest newest checkpoint {age:.1f} s (one every 2 s); {saved} at the start")
        print(f"recovered after {recovered:.2f} s")
    assert most_files < 120
    assert most_lines <= 10
    assert age < 6
    assert recovered <= 5
    assert "Too many open files" not in log


async def come_and_go(port: int, number: int) -> None:
    """Connect and drop a connection at one of five moments."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    kind = number % 5
    if kind:
        writer.write(STREAM if kind > 1 else STREAM[:20])
        if kind > 2:
            with contextlib.suppress(ConnectionError):
                await reader.read(100)
    if kind == 4:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def crowd(port: int, number: int) -> None:
    """Let clients come and go, fifty at a time."""
    for first in range(0, number, 50):
        await asyncio.gather(*(come_and_go(port, first + one) for one in range(50)))


def test_10000_connects_and_drops_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with service(tmp_path / "run") as served:
        asyncio.run(crowd(served.port, 1000))  # memory that the first clients need stays
        served.speed(5)
        rss, files = served.rss_mib, served.descriptors
        begin = time.monotonic()
        asyncio.run(crowd(served.port, 10_000))
        took = time.monotonic() - begin
        served.speed(5)
        clients = served.get("/api/status")["clients"]
        growth, more = served.rss_mib - rss, served.descriptors - files
    with capsys.disabled():
        print(
            f"\n10,000 in {took:.0f} s: {clients} streams, {more:+d} descriptors, {growth:+.1f} MiB"
        )
    assert clients == 0
    assert more <= 1
    assert growth <= 8
