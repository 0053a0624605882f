"""A service under attack during training: silent clients, slow clients, many errors."""

import asyncio
import contextlib
import socket
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from attacked import many_descriptors, service

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

BREAK = """
import keisei.server.routes as routes
async def versions(request):
    large = ["x" * 1000] * 1000
    def dive(depth):
        if not depth:
            raise KeyError("broken")
        dive(depth - 1)
    dive(50)
object.__setattr__(routes.versions, "endpoint", versions)
"""
POST = b"POST /api/eval HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SLOW = {
    "silent": (b"", b""),
    "half a head": (b"GET / HTTP/1.1\r\nHost: localh", b""),
    "half a body": (POST + b"Content-Length: 100\r\n\r\n{", b""),
    "a head byte by byte": (b"GET / HTTP/1.1\r\nX-Slow: ", b"a"),
    "a body byte by byte": (POST + b"Content-Length: 5000\r\n\r\n{", b" "),
}


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Let this process open enough sockets for all clients."""
    with many_descriptors():
        yield


def test_1100_silent_clients_do_not_slow_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios, delays = [], []
    with service(tmp_path / "run") as served:
        for _ in range(8):
            alone, _ = served.speed(6)
            clients = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(1100)]
            crowded, waited = served.speed(6)
            ratios.append(crowded / alone)
            delays += waited
            assert served.get("/api/status")["checkpoint_age"] < 6
            assert served.descriptors < 900
            for client in clients:
                client.close()
            time.sleep(0.5)
        assert served.get("/readyz")["status"] == "ready"
    with capsys.disabled():
        shown = " ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"\nsteps/s, with / without: {shown}; median {np.median(ratios):.3f}")
        print(f"/healthz p99 {np.percentile(delays, 99) * 1000:.0f} ms of {len(delays)}")
    assert np.median(ratios) >= 0.95
    assert np.percentile(delays, 99) <= 0.25


async def closed_after(port: int, begin: bytes, drip: bytes) -> float:
    """Send ``begin``, then ``drip`` every second. Return the seconds until the service closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    since = time.monotonic()
    writer.write(begin)
    try:
        while time.monotonic() - since < 40:
            writer.write(drip)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    if not await reader.read(4096):
                        break
    except ConnectionError:
        pass
    writer.close()
    return time.monotonic() - since


@pytest.mark.parametrize("kind", SLOW)
def test_500_slow_clients_are_closed_within_15_seconds(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def clients(port: int) -> list[float]:
        return await asyncio.gather(*(closed_after(port, *SLOW[kind]) for _ in range(500)))

    with service(tmp_path / "run") as served:
        took = asyncio.run(clients(served.port))
        served.get("/healthz")
    with capsys.disabled():
        print(f"\n{kind}: {len(took)} closed, the last after {max(took):.1f} s")
    assert max(took) <= 15


def test_ten_errors_in_a_row_do_not_delay_the_loop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with service(tmp_path / "run", BREAK) as served:
        begin = served.get("/api/status")["step"]
        for _ in range(10):
            with pytest.raises(urllib.error.HTTPError, match="500"):
                served.get("/api/version")
            time.sleep(0.2)
        query = f"/api/metrics?keys=system/loop_lag_ms&from={begin}&max_points=20000"
        last = served.get("/api/status")["iteration"]
        while served.get("/api/status")["iteration"] < last + 2:  # its lag is then stored
            time.sleep(0.2)
        lags = served.get(query)["series"]["system/loop_lag_ms"]["value"]
    with capsys.disabled():
        print(f"\nloop lag p99 {np.percentile(lags, 99):.1f} ms of {len(lags)} iterations")
    assert np.percentile(lags, 99) <= 10
    assert "large" not in (tmp_path / "run" / "keisei.log").read_text()
