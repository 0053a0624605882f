"""HTTPS with a certificate that the test makes."""

import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
import trustme
from starlette.applications import Starlette

from keisei.config import Server
from keisei.server import connections, serve
from keisei.server.serve import bind, run_server
from keisei.server.tls import TlsError, tls_context

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that clients of these tests trust."""
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA, tmp_path: Path) -> Server:
    """Settings with a certificate for localhost and its key."""
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    return Server(tls_certificate=str(tmp_path / "both.pem"))


@pytest.fixture
async def port(
    app: Starlette, server: Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[int]:
    """Serve the application over HTTPS with short deadlines; yield the port."""
    monkeypatch.setattr(connections, "SECONDS", 0.3)
    monkeypatch.setattr(serve, "SECONDS", 0.3)
    stop = anyio.Event()
    with bind("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(run_server, app, sock, stop, tls=tls_context(server)))
            yield sock.getsockname()[1]
            stop.set()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """The context of a client that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_requests_and_streams_are_answered_over_https(
    port: int, trusting: ssl.SSLContext
) -> None:
    async with httpx.AsyncClient(verify=trusting, base_url=f"https://localhost:{port}") as client:
        assert (await client.get("/api/status")).status_code == 200
        async with client.stream("GET", "/api/events") as stream:
            assert "hello" in await anext(stream.aiter_text())


async def test_a_slow_client_is_disconnected_over_https(
    port: int, trusting: ssl.SSLContext
) -> None:
    head = b"POST /api/eval HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n"
    for sent, answered in ((b"GET / HT", b""), (head + b"\r\n{", b"HTTP/1.1 415")):
        stream = await anyio.connect_tcp(
            "localhost", port, tls=True, ssl_context=trusting, tls_standard_compatible=False
        )
        async with stream:
            await stream.send(sent)
            found = b""
            with anyio.fail_after(5):
                try:
                    while True:
                        found += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass
        assert found.startswith(answered)


async def test_a_client_that_begins_no_handshake_is_disconnected(port: int) -> None:
    async with await anyio.connect_tcp("localhost", port) as stream:
        with anyio.fail_after(5), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()


async def test_plain_http_on_the_port_is_disconnected(port: int) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://localhost:{port}/")


def test_without_a_certificate_there_is_no_https() -> None:
    assert tls_context(Server()) is None


def test_a_wrong_file_is_named(tmp_path: Path, server: Server) -> None:
    with pytest.raises(TlsError, match=r"server\.tls_key: set server\.tls_certificate"):
        tls_context(Server(tls_key="key.pem"))
    with pytest.raises(TlsError, match=r"server\.tls_certificate: /nope\.pem: No such file"):
        tls_context(Server(tls_certificate="/nope.pem"))
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    for key in ("", server.tls_certificate):
        with pytest.raises(TlsError, match=r"garbage\.pem.*PEM certificate"):
            tls_context(Server(tls_certificate=str(garbage), tls_key=key))


def test_a_key_with_a_password_is_refused_and_asks_nothing_on_the_terminal(
    tmp_path: Path, authority: trustme.CA
) -> None:
    from cryptography.hazmat.primitives import serialization

    issued = authority.issue_cert("localhost")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    (tmp_path / "key.pem").write_bytes(locked)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with pytest.raises(TlsError, match="without a password"):
        tls_context(
            Server(tls_certificate=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "key.pem"))
        )
