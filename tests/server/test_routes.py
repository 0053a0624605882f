"""The routes that read a run, the commands, and the health checks."""

import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from keisei.metrics import METRICS
from keisei.server import routes
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

GETS = [
    "/api/status",
    "/api/version",
    "/api/config",
    "/api/metrics",
    "/api/metrics/catalog",
    "/api/log",
    "/api/games",
    "/api/games/1",
    "/api/checkpoints",
    "/api/eval",
    "/api/ratings",
    "/healthz",
    "/readyz",
]


@pytest.mark.parametrize("path", GETS)
async def test_every_document_is_json_and_head_works(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    json.loads(answer.text, parse_constant=pytest.fail)  # fails at NaN, which JSON does not have
    assert (await client.head(path)).status_code == 200


async def test_status_tells_what_the_run_does(client: httpx.AsyncClient, run: FakeRun) -> None:
    status = (await client.get("/api/status")).json()
    assert status["state"] == "running"
    assert status["step"] >= 20 * 4096
    assert status["run"] == run.status().run


async def test_metrics_are_chosen_by_key_step_and_cursor(client: httpx.AsyncClient) -> None:
    query = "keys=train/kl,train/entropy&from=8192&to=40960"
    found = (await client.get(f"/api/metrics?{query}")).json()
    assert set(found["series"]) == {"train/kl", "train/entropy"}
    assert found["series"]["train/kl"]["step"] == [8192 + 4096 * i for i in range(9)]
    repeated = (await client.get("/api/metrics?keys=train/kl&keys=train/entropy")).json()
    assert set(repeated["series"]) == set(found["series"])
    newer = (await client.get(f"/api/metrics?keys=train/kl&after={found['cursor']}")).json()
    assert all(i > found["cursor"] for i in newer["series"]["train/kl"]["iteration"])


async def test_the_catalog_tells_the_meaning_of_each_metric(client: httpx.AsyncClient) -> None:
    found = (await client.get("/api/metrics/catalog")).json()["metrics"]
    assert [entry["name"] for entry in found] == [metric.name for metric in METRICS]
    kl = next(entry for entry in found if entry["name"] == "train/kl")
    assert set(kl) == {"name", "meaning", "unit", "better", "when"}
    assert kl["unit"] == "nats"


async def test_unknown_metrics_are_refused_by_name(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/metrics?keys=train/kll")
    assert answer.status_code == 422
    assert "train/kll" in answer.json()["detail"]
    assert "train/kl," in answer.json()["detail"]


async def test_commands_change_the_state(client: httpx.AsyncClient, run: FakeRun) -> None:
    for command, state in (("pause", "paused"), ("resume", "running"), ("checkpoint", "running")):
        answer = await client.post(f"/api/control/{command}")
        assert answer.status_code == 202
        assert answer.json()["message"]
        assert run.state == state
    assert (await client.post("/api/control/stop")).status_code == 202
    assert run.state == "stopped"
    assert (await client.post("/api/control/pause")).status_code == 409


async def test_a_failed_run_is_not_ready(client: httpx.AsyncClient, run: FakeRun) -> None:
    assert (await client.get("/readyz")).status_code == 200
    run.fail("out of luck")
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "out of luck" in answer.json()["detail"]
    assert (await client.get("/healthz")).status_code == 200


async def test_a_full_disk_is_not_ready(
    client: httpx.AsyncClient, run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.reader.path = tmp_path
    monkeypatch.setattr(routes, "FREE_BYTES", 0)
    assert (await client.get("/readyz")).status_code == 200
    monkeypatch.setattr(routes, "FREE_BYTES", 2**80)
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert f"MiB left for {tmp_path}" in answer.json()["detail"]


async def test_a_run_that_saves_no_checkpoints_is_not_ready(
    client: httpx.AsyncClient, run: FakeRun
) -> None:
    run.checkpoint_age = 3 * run.settings.run.checkpoint_seconds + 59
    assert (await client.get("/readyz")).status_code == 200
    run.checkpoint_age += 2
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "checkpoint is 241 s old" in answer.json()["detail"]
    await client.post("/api/control/pause")
    assert (await client.get("/readyz")).status_code == 200


async def test_a_run_that_gave_something_up_is_not_ready(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = replace(run.status(), degraded=("sink database: OSError: disk full; given up",))
    monkeypatch.setattr(run, "status", lambda: lost)
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "without sink database: OSError: disk full" in answer.json()["detail"]
    assert (await client.get("/api/status")).json()["degraded"] == list(lost.degraded)


async def test_the_settings_are_those_in_use(client: httpx.AsyncClient, run: FakeRun) -> None:
    run.settings = run.settings.model_copy(update={"device": "cuda:1"})  # as resuming does
    assert (await client.get("/api/config")).json()["device"] == "cuda:1"
