"""Clients of the event stream that lose their connection again and again, and resume by id."""

import asyncio
import random
import socket
import struct
from collections import deque

import anyio
import pytest
from stream_client import served, until

from keisei.server import create_app
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

AT_ONCE = 50
RING = 24
"""Events that the server keeps. Few, so that some clients come back too late."""


class Reader:
    """A client that checks the ids of its events: each id follows the one before, or a reset."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self._port, self._rng = port, rng
        self.last: str | None = None
        self.events = self.resets = self.cuts = 0

    async def read_and_drop(self) -> None:
        """Connect, read a random number of bytes, and drop the connection."""
        resume = f"Last-Event-ID: {self.last}\r\n" if self.last else ""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n".encode())
        try:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            self._check(await self._read(reader), resumed=bool(resume))
        finally:
            if self._rng.random() < 0.5:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """Read chunks of HTTP up to a random byte, which may be in the middle of an event."""
        left, body = self._rng.randint(1, 6000), b""
        with anyio.move_on_after(self._rng.uniform(0.1, 1)):
            while left > 0:
                size = int(await reader.readline(), 16)
                if not size:
                    break
                part = min(size, left)
                body += await reader.readexactly(part)
                left -= part
                if part == size:
                    await reader.readexactly(2)
        return body

    def _check(self, body: bytes, *, resumed: bool) -> None:
        """Check the complete events of one connection."""
        self.cuts += 1
        *blocks, _ = body.decode("utf-8", "ignore").split("\r\n\r\n")
        for number, block in enumerate(block for block in blocks if "event: " in block):
            fields = dict(line.split(": ", 1) for line in block.split("\r\n"))
            name, id = fields["event"], fields["id"]
            assert (name == "hello") == (number == 0)
            if name == "hello":
                # A client that resumes keeps its place, unless `reset` follows.
                self.last = self.last if resumed else id
            elif name == "reset":
                self.resets += 1
                self.last = id
            else:
                assert self.last
                boot, _, before = self.last.rpartition("-")
                assert id == f"{boot}-{int(before) + 1}"
                self.events += 1
                self.last = id


async def read_with_disconnects(port: int, seed: int) -> Reader:
    """Read with several disconnects; some pauses are so long that events are lost."""
    rng = random.Random(seed)
    reader = Reader(port, rng)
    with anyio.fail_after(60):
        for _ in range(rng.randint(3, 6)):
            await reader.read_and_drop()
            await anyio.sleep(rng.choice((0, 0, 0.05, 0.5, 1.5)))
    return reader


@pytest.mark.parametrize(
    "number",
    [AT_ONCE, pytest.param(1000, marks=[pytest.mark.nightly, pytest.mark.timeout(600)])],
)
async def test_a_client_that_resumes_gets_every_id_once_or_a_reset(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[Reader] = []
    async with FakeRun(compile_seconds=0, iteration_seconds=0.05, board_seconds=0.1) as run:
        run.hub._ring = deque(maxlen=RING)
        app = create_app(run)
        async with served(app) as url:
            port = int(url.rstrip("/").rpartition(":")[2])
            for first in range(0, number, AT_ONCE):
                readers = (read_with_disconnects(port, first + one) for one in range(AT_ONCE))
                found += await asyncio.gather(*readers)
        with anyio.fail_after(5):
            await until(lambda: not run.hub.clients and not app.state.streams.open)
    events, cuts, resets = (
        sum(getattr(reader, name) for reader in found) for name in ("events", "cuts", "resets")
    )
    with capsys.disabled():
        print(f"\n{number} runs: {events} events, {cuts} connections, {resets} resets; no gap")
    assert events > 5 * number
    assert resets > 0
