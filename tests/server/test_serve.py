"""The socket and the server of ``keisei serve``."""

import errno
import socket
from contextlib import suppress
from functools import partial

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from stream_client import listening, take

from keisei.server.serve import PortInUseError, address_of, bind, run_server

pytestmark = pytest.mark.anyio


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


@pytest.mark.parametrize(
    ("proxies", "scheme", "client"),
    [
        ((), "http", "127.0.0.1"),
        (("10.0.0.0/8",), "http", "127.0.0.1"),
        (("127.0.0.1",), "https", "192.0.2.7"),
    ],
)
async def test_only_a_named_proxy_says_for_whom_it_asks(
    proxies: tuple[str, ...], scheme: str, client: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"{scope['scheme']} {scope['client'][0]}")(scope, receive, send)

    stop = anyio.Event()
    headers = {"X-Forwarded-For": "203.0.113.9, 192.0.2.7", "X-Forwarded-Proto": "https"}
    with bind("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(run_server, app, sock, stop, proxies=proxies))
            async with httpx.AsyncClient(base_url=address_of(sock)) as http:
                answer = await http.get("/", headers=headers)
            stop.set()
    assert answer.text == f"{scheme} {client}"


def test_a_port_in_use_is_named() -> None:
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
