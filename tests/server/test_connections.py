"""Slow clients, silent clients and too many clients, over real sockets."""

import asyncio
import json
import logging
import resource
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from contract import check_answer
from starlette.applications import Starlette
from starlette.responses import Response

from keisei.evaluation.spec import EvaluationSpec
from keisei.server import connections
from keisei.server.serve import bind, run_server
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

SECONDS = 0.5
LIMIT = 12
HEAD = b"POST /api/eval HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
STREAM = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"


LARGE = 2 * 2**20


@asynccontextmanager
async def large_answers() -> AsyncIterator[int]:
    """Serve an application whose only answer is large; yield its port."""
    stop = anyio.Event()
    with bind("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_server, Response(b"x" * LARGE), sock, stop)
            yield sock.getsockname()[1]
            stop.set()


async def read_at(rate: float, port: int, pause: float = 0) -> tuple[int, float]:
    """Ask for the large answer and read it at ``rate`` bytes a second, after a pause.

    Returns the number of bytes, and the seconds until the server closed the connection. A stream of
    anyio would not do here, because it reads ahead.
    """
    loop = asyncio.get_running_loop()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        raw.setblocking(False)
        await loop.sock_connect(raw, ("127.0.0.1", port))
        since, found = time.monotonic(), 0
        await loop.sock_sendall(raw, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await anyio.sleep(pause)
        with suppress(ConnectionError), anyio.fail_after(20):
            while part := await loop.sock_recv(raw, 16 * 1024):
                found += len(part)
                await anyio.sleep(max(0, found / rate - (time.monotonic() - since)))
        return found, time.monotonic() - since


async def test_a_client_that_does_not_read_a_large_answer_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "SECONDS", SECONDS)
    async with large_answers() as port:
        found, _ = await read_at(1e9, port, pause=3 * SECONDS)
    assert found < LARGE


async def test_a_client_that_reads_a_few_bytes_a_second_of_a_large_answer_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "SECONDS", SECONDS)
    async with large_answers() as port:
        found, seconds = await read_at(100_000, port)
    assert found < LARGE
    assert seconds < 10 * SECONDS


async def test_a_client_that_reads_slowly_gets_the_whole_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "SECONDS", SECONDS)
    async with large_answers() as port:
        found, seconds = await read_at(LARGE / 2, port)
    assert found > LARGE
    assert seconds > 3 * SECONDS


@pytest.fixture
async def port(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Serve the application with a short deadline and few connections; yield its port."""
    monkeypatch.setattr(connections, "SECONDS", SECONDS)
    monkeypatch.setattr(connections, "limit", lambda: LIMIT)
    stop = anyio.Event()
    with bind("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_server, app, sock, stop)
            yield sock.getsockname()[1]
            stop.set()


async def connect(port: int, data: bytes = b"") -> SocketStream:
    """Open a connection and send ``data``."""
    stream = await anyio.connect_tcp("127.0.0.1", port)
    if data:
        await stream.send(data)
    return stream


async def to_end(stream: SocketStream) -> bytes:
    """Return everything that arrives until the server closes the connection."""
    found = b""
    try:
        while True:
            found += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return found


async def is_open(stream: SocketStream) -> bool:
    """Return whether the server has not closed the connection."""
    with anyio.move_on_after(0.05):
        await to_end(stream)
        return False
    return True


async def is_served(port: int, path: str = "/healthz") -> bool:
    """Return whether a new client gets an answer within a second."""
    with anyio.fail_after(1):
        async with await connect(port, GET.replace(b"/healthz", path.encode())) as stream:
            return (await stream.receive()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"GET / HTTP/1.1\r\nHost: 127",
        HEAD,
        HEAD + b"Content-Length: 10\r\n\r\n",
        HEAD + b"Content-Length: 60000\r\n\r\n" + b"{" * 50_000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        GET + b"GET /healthz HTTP/1.1\r\n",
        GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n"),
    ],
)
async def test_an_incomplete_request_is_closed_after_the_deadline(
    app: Starlette, port: int, sent: bytes
) -> None:
    async with await connect(port, sent) as stream:
        begin = time.monotonic()
        with anyio.fail_after(5):
            await to_end(stream)
        assert time.monotonic() - begin < 5 * SECONDS
    assert await is_served(port)


@pytest.mark.parametrize(
    "sent", [b"", HEAD + b"Content-Length: 1000\r\n\r\n", GET], ids=["head", "body", "next head"]
)
async def test_single_bytes_do_not_extend_the_deadline(port: int, sent: bytes) -> None:
    async with await connect(port, sent) as stream:
        begin = time.monotonic()
        with anyio.fail_after(5):
            while await is_open(stream):
                try:
                    await stream.send(b"a")
                except anyio.BrokenResourceError:
                    break
        assert time.monotonic() - begin < 5 * SECONDS


async def test_a_missing_body_is_answered_408(port: int, run: FakeRun) -> None:
    async with await connect(port, HEAD + b"Content-Length: 10\r\n\r\n{") as stream:
        head, _, body = (await to_end(stream)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"content-security-policy" in head.lower()
    assert b"application/problem+json" in head
    assert "body did not come" in json.loads(body)["detail"]
    assert run.evaluations() == []


async def test_bytes_that_are_not_http_are_answered_400_with_a_problem(port: int) -> None:
    async with await connect(port, b"\x16\x03\x01 hello\r\n\r\n") as stream:
        head, _, body = (await to_end(stream)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["status"] == 400


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /healthz?" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /" + b"a" * 70_000, 414),
        (GET[:-2] + b"X-Long: " + b"a" * 17_000 + b"\r\n\r\n", 431),
        (GET[:-2] + b"X-Short: a\r\n" * 2_000 + b"\r\n", 431),
        (GET[:-2] + b"X-Long: " + b"a" * 70_000, 431),
    ],
)
async def test_a_head_that_is_too_long_is_refused_and_closed(
    port: int, sent: bytes, status: int
) -> None:
    async with await connect(port, sent) as client:
        with anyio.fail_after(2):
            head, _, body = (await to_end(client)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    check_answer("GET", "/healthz", status, "application/problem+json", body)
    assert json.loads(body)["status"] == status
    assert "bytes" in json.loads(body)["detail"]


async def test_a_head_of_an_ordinary_size_is_answered(port: int) -> None:
    sent = GET.replace(b"/healthz", b"/healthz?" + b"a" * 8_000)[:-2] + b"X: " + b"a" * 16_000
    async with await connect(port, sent + b"\r\n\r\n") as client:
        assert (await client.receive()).startswith(b"HTTP/1.1 422 ")  # there is no such field


async def test_faulty_requests_do_not_fill_the_log(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    for sent in (
        b"\x16\x03\x01 hello\r\n\r\n",
        GET[:-2] + b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    ):
        async with await connect(port, sent) as client:
            await client.receive()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_streams_and_waiting_requests_outlast_the_deadline(port: int, run: FakeRun) -> None:
    started = await run.evaluate(EvaluationSpec(games=400))
    wait = f"GET /api/eval/{started.id}?wait=2 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    async with await connect(port, STREAM) as stream, await connect(port, wait) as waiting:
        await anyio.sleep(4 * SECONDS)
        run.alert("late", "info", "still here")
        found = b""
        with anyio.fail_after(2):
            while b"still here" not in found:
                found += await stream.receive()
            assert (await waiting.receive()).startswith(b"HTTP/1.1 200")


async def test_the_longest_waiting_connections_are_closed_for_new_ones(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SECONDS", 60.0)
    async with AsyncExitStack() as stack:
        working = await stack.enter_async_context(await connect(port, STREAM))
        assert await working.receive()
        silent = [
            await stack.enter_async_context(await connect(port, half))
            for half in (b"", b"GET /", HEAD + b"Content-Length: 9\r\n\r\n") * LIMIT
        ]
        assert await is_served(port)
        left = [stream for stream in silent if await is_open(stream)]
        assert left == silent[-len(left) :]
        assert LIMIT - 3 <= len(left) < LIMIT
        assert await is_open(working)


async def test_a_new_connection_is_answered_503_if_all_are_in_use(port: int) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(LIMIT):
            working = await stack.enter_async_context(await connect(port, STREAM))
            assert await working.receive()
        for late in (GET.replace(b"healthz", b"api/status"), STREAM):
            async with await connect(port, late) as client:
                with anyio.fail_after(2):
                    answer = await to_end(client)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"12 connections are in use" in answer
            assert b"retry-after: 5\r\n" in answer.lower()
        assert await is_open(working)
        await working.aclose()
        with anyio.fail_after(5):
            while not await is_served(port, "/api/status"):
                pass


async def test_health_checks_are_answered_while_all_connections_are_in_use(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SECONDS", 60.0)
    async with AsyncExitStack() as stack:
        for _ in range(LIMIT):
            working = await stack.enter_async_context(await connect(port, STREAM))
            assert await working.receive()
        for _ in range(2 * connections.RESERVED):  # these clients also ask for a connection
            await stack.enter_async_context(await connect(port, b"GET /"))
        for path in ("/healthz", "/readyz"):
            async with await connect(port, GET.replace(b"/healthz", path.encode())) as client:
                with anyio.fail_after(2):  # the server also closes this connection
                    assert (await to_end(client)).startswith(b"HTTP/1.1 200 ")
        assert await is_open(working)


@pytest.mark.parametrize(
    ("soft", "most"), [(256, 128), (1024, 512), (10**6, 2000), (resource.RLIM_INFINITY, 2000)]
)
def test_half_of_the_descriptors_are_for_connections(
    soft: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert connections.limit() == most


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        b"DELETE /api/eval/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost",
    ],
)
async def test_a_stop_within_a_request_logs_no_warning(
    app: Starlette,
    sent: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop = anyio.Event()
    with bind("127.0.0.1", 0) as sock, anyio.fail_after(8):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_server, app, sock, stop)
            stream = await connect(sock.getsockname()[1], sent)
            await anyio.sleep(0.2)  # nothing announces that the server has read the bytes
            stop.set()
        await stream.aclose()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("linger", [None, 0], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Content-Length: 60000\r\n\r\n" + b"{" * 50_000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        GET[:20],
    ],
    ids=["body", "long body", "chunk", "head"],
)
async def test_a_client_that_disconnects_within_a_request_logs_no_warning(
    port: int, sent: bytes, linger: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    stream = await connect(port, sent)
    await anyio.sleep(0.05)  # nothing announces that the server has read the bytes
    if linger is not None:
        raw = stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger))
    await stream.aclose()
    await anyio.sleep(0.1)  # nothing announces that the server has seen the end
    assert await is_served(port)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts in /proc")
def test_silent_clients_never_take_the_last_descriptor() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = [sys.executable, "-m", "keisei.testing", "--port", str(port)]
    command = ["bash", "-c", 'ulimit -n 128; exec "$@"', "x", *serve]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
        url = f"http://127.0.0.1:{port}/healthz"
        for _ in range(20):
            with urllib.request.urlopen(url, timeout=1) as answer:
                assert answer.status == 200
        assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < 110
        for connection in silent:
            connection.close()
        stop = urllib.request.Request(f"{url[:-7]}api/control/stop", method="POST")
        urllib.request.urlopen(stop, timeout=5).close()
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
