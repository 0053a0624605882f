"""Signing in: the right token only, and not too often."""

import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from keisei.config import Server, Settings
from keisei.server import create_app
from keisei.server.sessions import FAILURES
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(token_file: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server on HTTPS that needs a token."""
    server = Server(token_file=token_file)
    transport = httpx.ASGITransport(create_app(FakeRun(Settings(server=server))))
    async with httpx.AsyncClient(transport=transport, base_url="https://localhost:8700") as client:
        yield client


@pytest.mark.parametrize("typed", ["", "wrong", "形成", "\\ud800", "x" * 60_000])
async def test_a_wrong_token_begins_no_session(client: httpx.AsyncClient, typed: str) -> None:
    headers = {"Content-Type": "application/json"}
    body = f'{{"token": "{typed}"}}'.encode()
    answer = await client.post("/api/session", content=body, headers=headers)
    assert answer.status_code in {401, 422}
    assert "set-cookie" not in answer.headers
    assert len(answer.text) < 1000


async def test_the_cookie_of_https_is_sent_over_https_only(
    client: httpx.AsyncClient, token: str
) -> None:
    answer = await client.post("/api/session", json={"token": token})
    assert "Secure" in answer.headers["set-cookie"]


async def test_many_failures_make_the_address_wait_and_the_log_never_has_what_was_typed(
    client: httpx.AsyncClient, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for _ in range(FAILURES):
            wrong = await client.post("/api/session", json={"token": token[:-1]})
            assert wrong.status_code == 401
        refused = await client.post("/api/session", json={"token": token})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await client.get("/api/status", headers=bearer)).status_code == 200
    assert token[:-1] not in caplog.text


async def test_a_server_without_a_token_begins_no_session() -> None:
    transport = httpx.ASGITransport(create_app(FakeRun()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8700") as client:
        answer = await client.post("/api/session", json={"token": "x"})
        assert answer.status_code == 409
        assert (await client.delete("/api/session")).status_code == 204
        state = {"signed_in": False, "read_only": False}
        assert (await client.get("/api/session")).json() == state
