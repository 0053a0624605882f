"""Raw HTTP that no client library would send, against a real server."""

import json
import logging
from collections.abc import AsyncIterator

import anyio
import pytest
from starlette.applications import Starlette
from stream_client import served

pytestmark = pytest.mark.anyio

HOST = b"Host: localhost\r\n"
GET = b"GET /healthz HTTP/1.1\r\n" + HOST
CLOSE = b"Connection: close\r\n\r\n"
POST = b"POST /api/eval HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
DEEP = b'{"opponents": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
SMUGGLED = b"GET /api/status HTTP/1.1\r\n" + HOST + b"\r\n"

REFUSED = {
    "a header of 64 KiB without an end": GET + b"X-Long: " + b"a" * 65536,
    "an address of 64 KiB": b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\n" + HOST + CLOSE,
    "NUL in the address": b"GET /\0 HTTP/1.1\r\n" + HOST + CLOSE,
    "NUL in a header": GET + b"X-Nul: a\0b\r\n" + CLOSE,
    "an escaped NUL": b"GET /api/eval/%00 HTTP/1.1\r\n" + HOST + CLOSE,
    "bad UTF-8 in the address": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + CLOSE,
    "escaped bad UTF-8": b"GET /api/eval/%ff%fe HTTP/1.1\r\n" + HOST + CLOSE,
    "bad UTF-8 in a query": b"GET /api/games?limit=%ff HTTP/1.1\r\n" + HOST + CLOSE,
    "bad UTF-8 in Host": b"GET /healthz HTTP/1.1\r\nHost: \xff\xfe\r\n" + CLOSE,
    "no Host": b"GET /healthz HTTP/1.1\r\n" + CLOSE,
    "two Hosts": GET + b"Host: evil.example\r\n" + CLOSE,
    "an unknown Host": b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE,
    "deep JSON": POST + b"Content-Length: %d\r\n" % len(DEEP) + CLOSE + DEEP,
    "a body that is not UTF-8": POST + b"Content-Length: 2\r\n" + CLOSE + b"\xff\xfe",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    "no protocol": b"hello\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + CLOSE,
    "length and chunks": (
        POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG" + SMUGGLED
    ),
    "chunks and length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + SMUGGLED
    ),
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
    "two lengths in one header": POST + b"Content-Length: 0, 44\r\n\r\n" + SMUGGLED,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
    "a length in hexadecimal": POST + b"Content-Length: 0x2\r\n\r\n{}" + SMUGGLED,
    "an unknown encoding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a misspelt encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two encodings": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    ),
    "a space before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "a folded encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a chunk length that is not a number": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a chunk length of 64 digits": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 64 + b"\r\n\r\n"
    ),
    "a chunk of the wrong length": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "bare CR in a header": GET + b"X-Bare: a\rb\r\n" + CLOSE,
}


@pytest.fixture
async def port(app: Starlette) -> AsyncIterator[int]:
    async with served(app) as url:
        yield int(url.rstrip("/").rpartition(":")[2])


async def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes, then end the sending side; return all that the server sends until it closes."""
    answer = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        with anyio.fail_after(15):
            try:
                await stream.send(sent)
                await stream.send_eof()
                async for part in stream:
                    answer += part
            except (anyio.BrokenResourceError, OSError):
                pass  # the server closed the connection before it read everything
    return answer


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers on one connection."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
async def test_abuse_gets_4xx_or_a_closed_connection(
    port: int, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        found = statuses(await exchange(port, sent))
        assert all(400 <= status < 500 for status in found), found  # a smuggled request gets 200
        assert statuses(await exchange(port, GET + CLOSE)) == [200]
    assert not [record for record in caplog.records if record.exc_info], "a traceback in the log"


@pytest.mark.parametrize(
    "header", [b"X-Long: " + b"a" * 65536, b"\r\n".join([b"X-More: a"] * 5000)]
)
async def test_a_complete_head_of_64_kib_is_answered_or_refused(port: int, header: bytes) -> None:
    """It is refused when it comes in several packets: only an incomplete head has a limit."""
    found = statuses(await exchange(port, GET + header + b"\r\n" + CLOSE))
    assert found in ([200], [400], [431], [])


async def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    games = b"".join(b"GET /api/games/%d HTTP/1.1\r\n" % n + HOST + b"\r\n" for n in (1, 2, 99, 3))
    answer = await exchange(port, games + GET + CLOSE)
    assert statuses(answer) == [200, 200, 404, 200, 200]
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2]) == {"status": "ok"}


async def test_lines_that_end_without_a_carriage_return_smuggle_nothing(port: int) -> None:
    """RFC 9112 lets a server accept a bare line feed; it must then use it for every line."""
    bare = (POST + b"Content-Length: 2\r\n\r\n{}").replace(b"\r\n", b"\n")
    assert statuses(await exchange(port, bare)) in ([], [400], [422])
    hidden = GET + b"X-Bare: a\nContent-Length: 44\r\n\r\n" + SMUGGLED
    assert statuses(await exchange(port, hidden)) in ([], [400], [200, 400])
