"""The event stream, over real sockets."""

import socket
import subprocess
import sys

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from stream_client import listening, served, take, until

from keisei.config import Server, Settings
from keisei.server import create_app, stream
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio


async def test_a_stream_begins_with_hello_and_goes_on(app: Starlette) -> None:
    async with served(app) as url, listening(url, "?topics=metrics") as found:
        hello, *iterations = await take(found, 6)
    assert hello[1] == "hello"
    assert hello[2]["state"] == "running"
    assert {name for _, name, _ in iterations} == {"iteration"}
    steps = [data["step"] for _, _, data in iterations]
    assert steps == list(range(steps[0], steps[0] + 5 * 4096, 4096))


async def test_a_stream_has_only_the_topics_of_its_query(app: Starlette) -> None:
    async with served(app) as url, listening(url, "?topics=board&topics=status") as found:
        names = {name for _, name, _ in await take(found, 8)}
    assert "board" in names
    assert names <= {"hello", "compiling", "running", "board"}


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_stream_resumes_without_gap_or_repetition(
    app: Starlette, run: FakeRun, by_header: bool
) -> None:
    async with served(app) as url:
        async with listening(url, "?topics=metrics") as found:
            seen = await take(found, 3)
        with anyio.fail_after(5):
            await until(lambda: run.step > seen[-1][2]["step"] + 3 * 4096)
        last = seen[-1][0]
        query = "?topics=metrics" if by_header else f"?topics=metrics&after={last}"
        # A browser reconnects with its first URL, so the header must win over an old after=.
        headers = {"Last-Event-ID": last} if by_header else {}
        async with listening(url, query, headers) as found:
            hello, *more = await take(found, 8)
    assert hello[1] == "hello"
    steps = [data["step"] for _, _, data in [*seen[1:], *more]]
    assert steps == list(range(steps[0], steps[0] + len(steps) * 4096, 4096))


async def test_an_event_id_of_another_process_is_answered_with_reset(app: Starlette) -> None:
    async with served(app) as url, listening(url, "?after=deadbeef-5") as found:
        assert [name for _, name, _ in await take(found, 2)] == ["hello", "reset"]


async def test_head_opens_no_stream(app: Starlette) -> None:
    async with served(app) as url, httpx.AsyncClient(timeout=5) as client:
        answer = await client.head(f"{url}api/events")
        assert answer.status_code == 200
        assert app.state.streams.open == 0


async def test_a_stream_above_the_limit_is_answered_503() -> None:
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


async def test_streams_of_one_address_of_another_machine_are_limited() -> None:
    settings = Settings(server=Server(max_streams_per_address=2))
    async with FakeRun(settings, compile_seconds=0) as run:
        streams = create_app(run).state.streams
        one, two, loopback = "192.0.2.1", "192.0.2.2", None
        with streams.count(one):
            with streams.count(one), streams.count(loopback), streams.count(loopback):
                assert "already has 2" in streams.refusal(one)
                assert streams.refusal(two) is streams.refusal(loopback) is None
            assert streams.refusal(one) is None
        assert streams.open == 0
        assert not streams._per_address  # the memory of addresses does not grow


async def test_a_stream_without_events_gets_pings(
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
    # Clients such as httpx-sse make an event from every block that has a field.
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


async def test_the_end_of_the_run_ends_its_streams_with_bye(app: Starlette, run: FakeRun) -> None:
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
def test_a_stream_in_a_host_application_ends_with_bye(topics: str) -> None:
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


async def test_a_failure_of_the_run_reaches_its_streams(app: Starlette, run: FakeRun) -> None:
    async with served(app) as url, listening(url, "?topics=status") as found:
        await take(found, 1)
        run.fail("out of luck")
        with anyio.fail_after(1):
            while True:
                _, name, data = await anext(found)
                if name == "failed":
                    break
    assert data["message"] == "out of luck"
