"""The stream and the server around it, over real sockets."""

import errno
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from keisei.config import Server, Settings
from keisei.server import create_app, stream
from keisei.server.serve import PortInUseError, address_of, bind, run_server
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

Event = tuple[str, str, dict[str, Any]]


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """The address of the application; the server is stopped in order."""
    stop = anyio.Event()
    with bind("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_server, app, sock, stop)
            yield address_of(sock)
            stop.set()


async def events(answer: httpx.Response) -> AsyncIterator[Event]:
    """(id, name, data) of each event."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            yield fields.get("id", ""), fields["event"], json.loads(fields["data"])
            fields = {}


@asynccontextmanager
async def listening(
    url: str, query: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of a stream of its own."""
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream("GET", f"{url}api/events{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield events(answer)


async def take(found: AsyncIterator[Event], number: int) -> list[Event]:
    """So many events."""
    with anyio.fail_after(10):
        return [await anext(found) for _ in range(number)]


async def until(true: Callable[[], bool]) -> None:
    """Wait for what nothing tells of."""
    while not true():  # noqa: ASYNC110
        await anyio.sleep(0.02)


async def test_a_stream_begins_with_hello_and_goes_on(app: Starlette) -> None:
    async with served(app) as url, listening(url, "?topics=metrics") as found:
        hello, *iterations = await take(found, 6)
    assert hello[1] == "hello"
    assert hello[2]["state"] == "running"
    assert {name for _, name, _ in iterations} == {"iteration"}
    steps = [data["step"] for _, _, data in iterations]
    assert steps == list(range(steps[0], steps[0] + 5 * 4096, 4096))


async def test_topics_are_told_apart(app: Starlette) -> None:
    async with served(app) as url, listening(url, "?topics=board&topics=status") as found:
        names = {name for _, name, _ in await take(found, 8)}
    assert "board" in names
    assert names <= {"hello", "compiling", "running", "board"}


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_stream_resumes_without_gap_or_repetition(app: Starlette, by_header: bool) -> None:
    async with served(app) as url:
        async with listening(url, "?topics=metrics") as found:
            seen = await take(found, 3)
        await anyio.sleep(0.5)
        last = seen[-1][0]
        query = "?topics=metrics" if by_header else f"?topics=metrics&after={last}"
        # A browser keeps its first URL, so the header must win over an old after=.
        headers = {"Last-Event-ID": last} if by_header else {}
        async with listening(url, query, headers) as found:
            hello, *more = await take(found, 8)
    assert hello[1] == "hello"
    steps = [data["step"] for _, _, data in [*seen[1:], *more]]
    assert steps == list(range(steps[0], steps[0] + len(steps) * 4096, 4096))


async def test_an_id_of_another_boot_is_told_by_reset(app: Starlette) -> None:
    async with served(app) as url, listening(url, "?after=deadbeef-5") as found:
        assert [name for _, name, _ in await take(found, 2)] == ["hello", "reset"]


async def test_head_opens_no_stream(app: Starlette) -> None:
    async with served(app) as url, httpx.AsyncClient(timeout=5) as client:
        answer = await client.head(f"{url}api/events")
        assert answer.status_code == 200
        assert app.state.streams.open == 0


async def test_streams_are_counted_and_capped() -> None:
    settings = Settings(server=Server(max_streams=2))
    async with FakeRun(settings, compile_seconds=0) as run:
        app = create_app(run)
        async with served(app) as url, httpx.AsyncClient(timeout=5) as client:
            async with listening(url) as one, listening(url) as two:
                await take(one, 1)
                await take(two, 1)
                answer = await client.get(f"{url}api/events")
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "5"
                assert answer.headers["content-type"] == "application/problem+json"
                assert (await client.get(f"{url}healthz")).status_code == 200
            with anyio.fail_after(5):
                await until(lambda: not app.state.streams.open and not run.hub.clients)
            async with listening(url) as again:
                await take(again, 1)


async def test_a_silent_stream_is_pinged(
    app: Starlette, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PING_SECONDS", 0.1)
    run.submit("pause")
    async with (
        served(app) as url,
        httpx.AsyncClient(timeout=5) as client,
        client.stream("GET", f"{url}api/events?topics=alert") as answer,
    ):
        text = ""
        async for part in answer.aiter_text():
            text += part
            if ": ping\r\n" in text:
                break
    first, *more = text.split("\r\n\r\n")
    assert first.startswith("retry: 2000\r\n")
    # Clients such as httpx-sse make an event of every block that has a field.
    blocks = [first, *(block for block in more if block and block != ": ping")]
    assert all("\r\nevent: " in f"\r\n{block}" for block in blocks)
    assert all("\r\ndata: {" in block for block in blocks)


async def test_a_client_that_reads_nothing_is_dropped(
    app: Starlette, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SEND_SECONDS", 0.5)
    async with served(app) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await anyio.to_thread.run_sync(client.connect, ("127.0.0.1", port))
            await anyio.to_thread.run_sync(
                client.sendall, b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            with anyio.fail_after(20):
                await until(lambda: run.hub.clients > 0)
                while run.hub.clients:
                    run.alert("flood", "info", "x" * 60_000)
                    await anyio.sleep(0.02)
                await until(lambda: not app.state.streams.open)


async def test_the_end_of_the_run_says_bye_and_the_server_leaves(
    app: Starlette, run: FakeRun
) -> None:
    names: list[str] = []
    with anyio.fail_after(5):
        async with served(app) as url, listening(url, "?topics=status") as found:
            await take(found, 1)
            run.stop()
            async for _, name, _ in found:
                names.append(name)
    assert names[-2:] == ["stopped", "bye"]


HOST = """
import contextlib, sys, uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from keisei.server import create_app
from keisei.testing import FakeRun

@contextlib.asynccontextmanager
async def lifespan(app):
    async with FakeRun() as run:
        app.router.routes.append(Mount("/train", create_app(run)))
        yield

uvicorn.run(Starlette(lifespan=lifespan), port=int(sys.argv[1]), log_level="warning")
"""


@pytest.mark.parametrize("topics", ["status", "metrics,board", "alert"])
def test_a_page_in_an_application_of_somebody_else_is_told_bye(topics: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/train/"
    with (
        subprocess.Popen([sys.executable, "-c", HOST, str(port)], stderr=subprocess.PIPE) as host,
        httpx.Client(transport=httpx.HTTPTransport(retries=12), timeout=10) as client,
        client.stream("GET", f"{url}api/events?topics={topics}") as answer,
    ):
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("event")) == "event: hello"
        host.terminate()
        names = [line for line in lines if line.startswith("event")]
        assert names[-1] == "event: bye"
        host.wait(5)
        assert host.stderr
        assert host.stderr.read() == b""


async def test_a_failure_reaches_the_clients(app: Starlette, run: FakeRun) -> None:
    async with served(app) as url, listening(url, "?topics=status") as found:
        await take(found, 1)
        run.fail("out of luck")
        with anyio.fail_after(1):
            while True:
                _, name, data = await anext(found)
                if name == "failed":
                    break
    assert data["message"] == "out of luck"


async def test_a_cancelled_server_ends_its_streams_and_can_start_again(app: Starlette) -> None:
    async def serve(sock: socket.socket, scope: anyio.CancelScope) -> None:
        with scope:
            await run_server(app, sock, anyio.Event())

    with bind("127.0.0.1", 0) as sock:
        url = address_of(sock)
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                scope = anyio.CancelScope()
                tasks.start_soon(serve, sock, scope)
                async with listening(url) as found:
                    await take(found, 2)
                    scope.cancel()
                    with anyio.fail_after(5), suppress(httpx.RemoteProtocolError):
                        async for _ in found:
                            pass
            assert app.state.streams.open == 0


def test_a_taken_port_is_named() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"127.0.0.1:{port}") as caught:
            bind("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE


def test_ipv6_is_bound_with_and_without_brackets() -> None:
    for host in ("::1", "[::1]"):
        try:
            sock = bind(host, 0)
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
        with sock:
            assert address_of(sock).startswith("http://[::1]:")
