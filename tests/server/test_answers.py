"""JSON answers and the threads that make them."""

import json
import time
from typing import Any

import anyio
import httpx
import pytest

from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio


async def test_at_most_four_requests_read_files_at_once(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, most, read = 0, 0, run.reader.metrics

    def slow(*arguments: Any, **more: Any) -> dict[str, Any]:
        nonlocal going, most
        going += 1
        most = max(most, going)
        time.sleep(0.02)
        going -= 1
        return read(*arguments, **more)

    monkeypatch.setattr(run.reader, "metrics", slow)
    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(client.get, "/api/metrics")
    assert most == 4


async def test_nan_is_sent_as_null(client: httpx.AsyncClient, run: FakeRun) -> None:
    run.reader.iterations[3].values["train/kl"] = float("nan")
    answer = await client.get("/api/metrics?keys=train/kl&to=40960")
    values = json.loads(answer.text, parse_constant=pytest.fail)["series"]["train/kl"]["value"]
    assert values[3] is None
    assert values[4] is not None


async def test_a_lone_surrogate_is_sent_as_an_escape(
    client: httpx.AsyncClient, run: FakeRun
) -> None:
    message = "runs/\udcff\udc80"  # as Python writes the name of a file that is not UTF-8
    run.fail(message)
    answer = await client.get("/api/status")
    assert answer.json()["message"] == message


@pytest.mark.parametrize("path", ["/api/games", "/api/log", "/api/eval"])
async def test_pages_lead_through_the_whole_list(
    client: httpx.AsyncClient, run: FakeRun, path: str
) -> None:
    for n in range(3):
        run.alert("test", "info", str(n))
        await client.post("/api/eval", json={"opponent": "random", "games": 2})
    whole = next(v for k, v in (await client.get(path)).json().items() if k != "next")
    found, address = [], f"{path}?limit=2"
    while address:
        answer = await client.get(address)
        found += next(v for k, v in answer.json().items() if k != "next")
        address = answer.links.get("next", {}).get("url", "")
        assert bool(address) == (answer.json()["next"] is not None)
    assert len(found) >= 3
    assert [item["id"] for item in found] == [item["id"] for item in whole]


async def test_a_page_after_an_unknown_evaluation_is_empty(client: httpx.AsyncClient) -> None:
    await client.post("/api/eval", json={"opponent": "random", "games": 2})
    assert (await client.get("/api/eval?after=nope")).json() == {"evaluations": [], "next": None}
