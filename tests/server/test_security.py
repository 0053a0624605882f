"""Access rules: loopback addresses, Host names, other sites, bodies."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from keisei.config import Server, Settings
from keisei.server import create_app
from keisei.server.security import MAX_BODY, HostRefusedError, check_host
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

HOSTILE = [
    "evil.com",
    "evil.com:8700",
    "127.0.0.1.nip.io",
    "localhost.evil.com",
    "localhost:8700@evil.com",
    "localhost.",
    "127.1",
    "2130706433",
    "0.0.0.0",
    "[::ffff:127.0.0.1]",
    "[::1",
    "localhost:8700:8700",
    "localhost, evil.com",
    "lоcalhost",  # with a Cyrillic o
    " ",
    "",
]


async def request(app: Starlette, method: str, path: str, headers: dict[str, str]) -> int:
    """Send a request with exactly these headers; return the status of the answer."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8700),
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    kind = dict(sent[0]["headers"])[b"content-type"]
    assert sent[0]["status"] < 400 or kind == b"application/problem+json"
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize("host", ["localhost", "localhost:8700", "127.0.0.1:9", "[::1]:8700"])
async def test_own_host_names_are_answered(app: Starlette, host: str) -> None:
    assert await request(app, "GET", "/api/status", {"Host": host}) == 200


@pytest.mark.parametrize("host", HOSTILE)
async def test_other_host_names_are_answered_400(app: Starlette, host: str) -> None:
    for path in ("/api/status", "/api/events", "/", "/healthz"):
        assert await request(app, "GET", path, {"Host": host}) == 400


async def test_a_missing_host_name_is_answered_400(app: Starlette) -> None:
    assert await request(app, "GET", "/api/status", {}) == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "none"}, 202),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8700"}, 403),
        ({"Origin": "http://localhost:8700"}, 202),
        ({"Origin": "http://localhost:9999"}, 403),
        ({"Origin": "http://evil.com"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_other_sites_cannot_write(
    app: Starlette, run: FakeRun, headers: dict[str, str], status: int
) -> None:
    host = {"Host": "localhost:8700"}
    assert await request(app, "POST", "/api/control/pause", host | headers) == status
    assert run.state == ("paused" if status == 202 else "running")


async def test_other_sites_can_follow_a_link(app: Starlette) -> None:
    headers = {"Host": "localhost:8700", "Sec-Fetch-Site": "cross-site"}
    assert await request(app, "GET", "/api/status", headers) == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_must_say_that_it_is_json(
    client: httpx.AsyncClient, run: FakeRun, kind: str | None
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await client.post("/api/eval", content=b'{"opponent":"random"}', headers=headers)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]
    assert run.evaluations() == []


async def test_a_large_body_is_refused(client: httpx.AsyncClient) -> None:
    body = b'{"opponent":"' + b"x" * MAX_BODY + b'"}'
    answer = await client.post(
        "/api/eval", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/", "/api/status", "/nope", "/api/events?topics=x"])
async def test_every_answer_has_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "localhost", "::1", "[::1]"])
async def test_the_server_may_listen_on_a_loopback_address(host: str) -> None:
    check_host(Server(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
async def test_the_server_may_not_listen_on_another_address(host: str) -> None:
    with pytest.raises(HostRefusedError, match=r"server\.host.*loopback"):
        check_host(Server(host=host))


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "0:0:0:0:0:0:0:1"])
async def test_the_own_address_is_an_allowed_host_name(host: str) -> None:
    app = create_app(FakeRun(Settings(server=Server(host=host, allowed_hosts=("localhost",)))))
    shown = "127.0.0.2:8700" if host == "127.0.0.2" else "[::1]:8700"
    assert await request(app, "GET", "/api/status", {"Host": shown}) == 200
    assert await request(app, "GET", "/api/status", {"Host": "127.0.0.3:8700"}) == 400


async def test_an_own_address_beyond_loopback_is_not_an_allowed_host_name() -> None:
    app = create_app(FakeRun(Settings(server=Server(host="0.0.0.0"))))
    assert await request(app, "GET", "/api/status", {"Host": "0.0.0.0:8700"}) == 400


async def test_a_wildcard_for_all_host_names_is_refused() -> None:
    server = Server(allowed_hosts=("localhost", "*"))
    with pytest.raises(HostRefusedError, match=r"server\.allowed_hosts"):
        check_host(server)
    with pytest.raises(HostRefusedError, match=r"server\.allowed_hosts"):
        create_app(FakeRun(Settings(server=server)))
