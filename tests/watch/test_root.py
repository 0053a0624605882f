"""The list of all runs in a folder, and the address of each."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync as in_thread
from watch_tools import Writer

from keisei.config import Server
from keisei.server.token import open_token
from keisei.watch import root as module
from keisei.watch.root import WatchedRoot

pytestmark = pytest.mark.anyio


@pytest.fixture
async def root(tmp_path: Path) -> AsyncIterator[WatchedRoot]:
    """A folder with the runs a and b, and its watcher."""
    for name in "ab":
        writer = await in_thread(Writer, tmp_path / "runs" / name)
        await in_thread(writer.start, 1.0)
        await in_thread(writer.close)
    (tmp_path / "runs/no run").mkdir()
    (tmp_path / "secret").mkdir()
    async with WatchedRoot(tmp_path / "runs", Server()) as root:
        yield root


def client(app: Any, **more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://localhost",
        **more,
    )


async def test_the_page_lists_all_runs_and_each_has_its_address(root: WatchedRoot) -> None:
    async with client(root) as http:
        page = await http.get("/")
        assert "runs.js" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        listed = (await http.get("/api/runs")).json()["runs"]
        assert {(run["id"], run["state"]) for run in listed} == {("a", "ended"), ("b", "ended")}
        for run in listed:
            home = f"/runs/{run['id']}/"
            assert "main.js" in (await http.get(home)).text
            found = (await http.get(f"{home}api/status")).json()
            assert (found["run"], found["watched"]) == (run["id"], True)
            assert (await http.get(home[:-1])).headers["location"].endswith(home)
            assert (await http.post(f"{home}api/control/pause")).status_code == 403


async def test_a_run_that_begins_later_is_listed(root: WatchedRoot) -> None:
    async with client(root) as http:
        assert (await http.get("/runs/c/api/status")).status_code == 404
        writer = await in_thread(Writer, root.root / "c")
        assert (await http.get("/runs/c/api/status")).json()["state"] == "starting"
        assert "c" in [run["id"] for run in (await http.get("/api/runs")).json()["runs"]]
        await in_thread(writer.close)


@pytest.mark.parametrize("id", ["d", "..", "%2E%2E", "..%2Fsecret", "no%20run", "a%00", "x" * 255])
async def test_no_address_leads_to_another_folder(root: WatchedRoot, id: str) -> None:
    async with client(root) as http:
        answer = await http.get(f"/runs/{id}/api/status")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_runs_come_in_pages(root: WatchedRoot) -> None:
    async with client(root) as http:
        first = await http.get("/api/runs?limit=1")
        second = await http.get(first.links["next"]["url"])
        ids = [answer.json()["runs"][0]["id"] for answer in (first, second)]
        assert sorted(ids) == ["a", "b"]
        assert (await http.get("/api/runs?limit=x")).status_code == 422


async def test_a_run_is_read_only_while_somebody_asks_for_it(
    root: WatchedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.5)
    async with client(root) as http:
        await http.get("/runs/a/api/status")
        assert list(root.open_runs) == ["a"]
        with anyio.fail_after(20):
            while root.open_runs:  # noqa: ASYNC110 (time is the subject)
                await anyio.sleep(0.05)
        assert (await http.get("/runs/a/api/status")).json()["run"] == "a"


async def test_too_many_open_runs_are_refused(
    root: WatchedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 1)
    async with client(root) as http:
        assert (await http.get("/runs/a/api/status")).status_code == 200
        assert (await http.get("/runs/b/api/status")).status_code == 503
        assert (await http.get("/runs/a/api/status")).status_code == 200


async def test_one_sign_in_is_for_all_runs(root: WatchedRoot, tmp_path: Path) -> None:
    file = str(tmp_path / "token")
    token = (await in_thread(open_token, file)).token.get_secret_value()
    async with WatchedRoot(root.root, Server(token_file=file)) as guarded, client(guarded) as http:
        for path in ("/api/runs", "/runs/a/api/status"):
            assert (await http.get(path)).status_code == 401
        sign_in = {
            "content": json.dumps({"token": token}),
            "headers": {"Content-Type": "application/json"},
        }
        assert (await http.post("/api/session", **sign_in)).status_code == 204
        for path in ("/api/runs", "/runs/a/api/status", "/runs/b/api/status"):
            assert (await http.get(path)).status_code == 200


async def test_a_folder_that_is_missing_holds_no_run_yet(tmp_path: Path) -> None:
    async with WatchedRoot(tmp_path / "later", Server()) as root, client(root) as http:
        assert (await http.get("/api/runs")).json() == {"runs": [], "next": None}
