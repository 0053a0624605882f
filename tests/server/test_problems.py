"""Errors are problem documents."""

import httpx
import pytest

from keisei.store import DatabaseError, RunError
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/api/nope",
        "/api/games/99",
        f"/api/games/{2**70}",
        "/api/eval/nope",
        "/api/eval/nope/events",
        "/api/eval/nope/games",
        "/%00",
    ],
)
async def test_unknown_paths_and_ids_are_answered_404(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/status", "GET"),
        ("GET", "/api/control/pause", "POST"),
        ("PUT", "/api/eval", "POST"),
        ("POST", "/", "GET"),
    ],
)
async def test_a_wrong_method_is_answered_405_with_the_allowed_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == 405
    assert allowed in answer.headers["allow"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "error", [DatabaseError("/x/keisei.db: damaged"), RunError("/x/run.toml: y")]
)
async def test_a_file_that_cannot_be_read_is_answered_503_with_the_reason(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(**arguments: object) -> None:
        raise error

    monkeypatch.setattr(run.reader, "games", broken)
    answer = await client.get("/api/games")
    assert (answer.status_code, answer.json()["detail"]) == (503, str(error))


async def test_an_internal_error_is_answered_500_without_details(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(run, "status", broken)
    answer = await client.get("/api/status")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
