"""Access rules: loopback addresses, Host names, other sites, bodies."""

import socket
from collections.abc import AsyncIterator

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from keisei.config import Server, Settings
from keisei.server import create_app
from keisei.server.app import OPERATIONS
from keisei.server.security import MAX_BODY
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


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "0:0:0:0:0:0:0:1"])
async def test_the_own_address_is_an_allowed_host_name(host: str) -> None:
    app = create_app(FakeRun(Settings(server=Server(host=host, allowed_hosts=("localhost",)))))
    shown = "127.0.0.2:8700" if host == "127.0.0.2" else "[::1]:8700"
    assert await request(app, "GET", "/api/status", {"Host": shown}) == 200
    assert await request(app, "GET", "/api/status", {"Host": "127.0.0.3:8700"}) == 400


async def test_an_own_address_beyond_loopback_is_not_an_allowed_host_name() -> None:
    app = create_app(FakeRun(Settings(server=Server(host="0.0.0.0"))))
    assert await request(app, "GET", "/api/status", {"Host": "0.0.0.0:8700"}) == 400


async def test_the_addresses_of_the_machine_are_allowed_host_names_of_a_server_on_all() -> None:
    app = create_app(FakeRun(Settings(server=Server(host="0.0.0.0", read_only=True))))
    addresses = [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    ]
    for host in [*addresses, socket.gethostname()]:
        assert await request(app, "GET", "/api/status", {"Host": f"{host}:8700"}) == 200
    for host in HOSTILE:
        assert await request(app, "GET", "/api/status", {"Host": host}) == 400


async def test_an_opaque_origin_cannot_write_even_if_the_browser_calls_it_ours(
    app: Starlette,
) -> None:
    headers = {"Host": "localhost:8700", "Origin": "null", "Sec-Fetch-Site": "same-origin"}
    assert await request(app, "POST", "/api/control/pause", headers) == 403


PAGE = "https://lab.example.org"


@pytest.fixture
async def shared(token_file: str, token: str) -> AsyncIterator[tuple[Starlette, str]]:
    """An application with a token that pages of ``PAGE`` may use; and the token."""
    server = Server(token_file=token_file, cors_origins=(PAGE,))
    async with FakeRun(Settings(server=server), compile_seconds=0) as run:
        await run.until("running")
        yield create_app(run), token


@pytest.mark.parametrize(
    ("origin", "bearer", "status"),
    [(PAGE, True, 202), (PAGE, False, 403), ("https://evil.com", True, 403), ("null", True, 403)],
)
async def test_a_page_of_a_named_origin_writes_only_with_the_token(
    shared: tuple[Starlette, str], origin: str, bearer: bool, status: int
) -> None:
    app, token = shared
    headers = {"Host": "localhost:8700", "Origin": origin, "Sec-Fetch-Site": "cross-site"}
    headers |= {"Authorization": f"Bearer {token}"} if bearer else {}
    assert await request(app, "POST", "/api/control/pause", headers) == status


async def test_a_named_origin_writes_nothing_without_a_token_file() -> None:
    app = create_app(FakeRun(Settings(server=Server(cors_origins=(PAGE,)))))
    headers = {"Host": "localhost:8700", "Origin": PAGE, "Authorization": "Bearer made-up"}
    assert await request(app, "POST", "/api/control/stop", headers) == 403


async def test_only_named_origins_may_read_and_never_with_cookies(
    shared: tuple[Starlette, str],
) -> None:
    app, token = shared
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8700") as client:
        ask = {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        }
        asked = await client.options("/api/status", headers={"Origin": PAGE, **ask})
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == PAGE
        assert (
            await client.options("/api/status", headers={"Origin": "http://evil.com", **ask})
        ).is_error
        bearer = {"Authorization": f"Bearer {token}"}
        for origin, allowed in ((PAGE, PAGE), ("http://evil.com", None)):
            answer = await client.get("/api/status", headers={"Origin": origin, **bearer})
            assert answer.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("watched", [False, True])
async def test_a_read_only_server_answers_reads_and_refuses_all_writes(watched: bool) -> None:
    run = FakeRun(Settings(server=Server(read_only=not watched)))
    app = create_app(run, watched=watched)
    host = {"Host": "localhost:8700"}
    assert await request(app, "GET", "/api/status", host) == 200
    for item in OPERATIONS:
        if item.method != "GET" and item.path != "/api/session":
            path = item.path.replace("{id}", "1")
            assert await request(app, item.method, path, host) == 403
