"""Who gets an answer: clients with the token, and browsers that signed in with it."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from stream_client import listening, served, take, until

from keisei.config import Server, Settings
from keisei.server.app import OPERATIONS
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

HEALTH = {"/healthz", "/readyz"}
HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
async def run(token_file: str) -> AsyncIterator[FakeRun]:
    """A fake run whose server needs a token."""
    settings = Settings(server=Server(token_file=token_file))
    async with FakeRun(settings, history=20, compile_seconds=0, board_seconds=0.05) as run:
        await run.until("running")
        yield run


def bearer(token: str) -> dict[str, str]:
    """The header of a program that has the token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("kind", ["none", "wrong", "cookie", "basic", "empty"])
async def test_without_the_token_every_request_but_health_is_answered_401(
    client: httpx.AsyncClient, token: str, kind: str
) -> None:
    headers = {
        "none": {},
        "wrong": bearer(token[:-1]),
        "cookie": {"Cookie": f"keisei_session_8700={token}"},
        "basic": {"Authorization": f"Basic {token}"},
        "empty": bearer(""),
    }[kind]
    requests = {(item.method, item.path.replace("{id}", "1")) for item in OPERATIONS}
    requests |= {("GET", "/"), ("GET", "/main.js"), ("GET", "/nope"), ("OPTIONS", "/api/status")}
    requests |= {
        ("GET", "/healthz/"),
        ("GET", "//healthz"),
        ("GET", "/api/games/healthz"),
        ("PUT", "/api/session"),
    }
    for method, path in requests:
        answer = await client.request(method, path, headers=headers)
        if path in HEALTH:
            assert answer.status_code == 200
        else:
            assert (method, path, answer.status_code) == (method, path, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
            assert token not in answer.text


async def test_with_the_token_requests_are_answered(
    client: httpx.AsyncClient, run: FakeRun, token: str
) -> None:
    assert (await client.get("/api/status", headers=bearer(token))).status_code == 200
    assert (await client.get("/", headers=bearer(token))).status_code == 200
    lower = {"Authorization": f"bearer {token}"}
    assert (await client.post("/api/control/pause", headers=lower)).status_code == 202
    assert run.state == "paused"


async def test_the_settings_of_the_api_do_not_have_the_token(
    client: httpx.AsyncClient, token: str
) -> None:
    shown = await client.get("/api/config", headers=bearer(token))
    assert token not in shown.text


async def test_a_stranger_is_told_that_the_run_is_not_ready_but_not_why(
    client: httpx.AsyncClient, run: FakeRun, token: str
) -> None:
    run.fail("ValueError: /home/ada/secret.bin")
    for path in ("/readyz", "/readyz?x=1"):
        assert "secret" not in (await client.get(path)).text
    stranger = await client.get("/readyz")
    assert stranger.status_code == 503
    assert stranger.json()["title"] == "Service Unavailable"
    assert "secret" in (await client.get("/readyz", headers=bearer(token))).text


async def test_a_browser_gets_a_page_to_sign_in_with_a_policy_for_this_page_only(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/", headers=HTML)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["cache-control"] == "no-store"
    assert 'action="/api/session"' in answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'sha256-" in policy
    assert "unsafe" not in policy
    assert (await client.post("/", headers=HTML)).headers["content-type"] != "text/html"


async def sign_in(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """Sign in as the page does. The client keeps the cookie."""
    return await client.post("/api/session", json={"token": token})


async def test_a_browser_signs_in_for_a_cookie_and_signs_out(
    client: httpx.AsyncClient, token: str
) -> None:
    answer = await sign_in(client, token)
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=strict", "Max-Age=604800"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert token not in cookie
    state = {"signed_in": True, "read_only": False}
    assert (await client.get("/api/session")).json() == state
    kept = dict(client.cookies)
    assert (await client.delete("/api/session")).status_code == 204
    assert not client.cookies
    client.cookies.update(kept)  # a thief of the cookie
    assert (await client.get("/api/status")).status_code == 401


async def test_a_bearer_token_that_is_wrong_is_not_saved_by_a_cookie(
    client: httpx.AsyncClient, token: str
) -> None:
    await sign_in(client, token)
    assert (await client.get("/api/status")).status_code == 200
    assert (await client.get("/api/status", headers=bearer("x"))).status_code == 401


async def test_sign_out_ends_the_streams_of_this_browser(app: Starlette, token: str) -> None:
    async with served(app) as url, httpx.AsyncClient(base_url=url) as client:
        await sign_in(client, token)
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        async with listening(url, headers=cookies) as stream:
            await take(stream, 2)
            assert app.state.streams.open == 1
            await client.delete("/api/session")
            with anyio.fail_after(5):
                async for _ in stream:
                    pass
        await until(lambda: app.state.streams.open == 0)


async def test_a_mounted_application_asks_for_the_token_below_its_own_path(
    app: Starlette, token: str
) -> None:
    host = Starlette(routes=[Mount("/shogi", app)])
    transport = httpx.ASGITransport(host)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8700") as client:
        assert (await client.get("/shogi/healthz")).status_code == 200
        assert (await client.get("/shogi/api/status")).status_code == 401
        page = await client.get("/shogi/", headers=HTML)
        assert 'action="/shogi/api/session"' in page.text
        signed = await client.post("/shogi/api/session", json={"token": token})
        assert "Path=/shogi;" in signed.headers["set-cookie"]
        assert (await client.get("/shogi/api/status")).status_code == 200


@pytest.fixture
def shared_file(token_file: str) -> None:
    """The token file is one that other users can read."""
    Path(token_file).chmod(0o644)


@pytest.mark.usefixtures("shared_file")
async def test_a_refused_token_file_opens_nothing(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await client.get("/api/status", headers=bearer("x" * 43))
    assert answer.status_code == 500
    assert "token" not in answer.text
