"""What the API answers."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from keisei.errors import InboxFull, KeyReused
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
    json.loads(answer.text, parse_constant=pytest.fail)  # NaN would come here
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


async def test_many_long_questions_few_are_answered_at_once(
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


async def test_nan_goes_out_as_null(client: httpx.AsyncClient, run: FakeRun) -> None:
    run.reader.iterations[3].values["train/kl"] = float("nan")
    answer = await client.get("/api/metrics?keys=train/kl&to=40960")
    values = json.loads(answer.text, parse_constant=pytest.fail)["series"]["train/kl"]["value"]
    assert values[3] is None
    assert values[4] is not None


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


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("/api/metrics?max_points=1", "max_points"),
        ("/api/metrics?from=x", "from"),
        ("/api/metrics?after=-1", "after"),
        ("/api/metrics?to=99999999999999999999", "to"),
        ("/api/metrics?nope=1", "nope"),
        ("/api/status?nope=1", "nope"),
        ("/api/games?limit=0", "limit"),
        ("/api/eval?state=done", "state"),
        ("/api/events?topics=boards", "topics"),
    ],
)
async def test_bad_queries_name_the_field(
    client: httpx.AsyncClient, query: str, named: str
) -> None:
    answer = await client.get(query)
    assert answer.status_code == 422
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in problem["errors"][0]["field"]


async def test_unknown_topics_name_the_known_ones(client: httpx.AsyncClient) -> None:
    detail = (await client.get("/api/events?topics=status,boards")).json()["detail"]
    assert "'board'" in detail
    assert "'metrics'" in detail


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
async def test_what_is_not_there_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
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
async def test_wrong_methods_name_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == 405
    assert allowed in answer.headers["allow"]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_control_changes_the_state(client: httpx.AsyncClient, run: FakeRun) -> None:
    for command, state in (("pause", "paused"), ("resume", "running"), ("checkpoint", "running")):
        answer = await client.post(f"/api/control/{command}")
        assert answer.status_code == 202
        assert answer.json()["message"]
        assert run.state == state
    assert (await client.post("/api/control/stop")).status_code == 202
    assert run.state == "stopped"
    assert (await client.post("/api/control/pause")).status_code == 409


async def test_a_full_inbox_asks_to_come_back(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(kind: str) -> None:
        raise InboxFull("eight commands wait")

    monkeypatch.setattr(run, "submit", full)
    answer = await client.post("/api/control/pause")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "eight commands wait" in answer.json()["detail"]


async def test_readiness_follows_the_worker(client: httpx.AsyncClient, run: FakeRun) -> None:
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


async def test_an_evaluation_from_start_to_end(client: httpx.AsyncClient) -> None:
    started = await client.post("/api/eval", json={"opponent": "random", "games": 4})
    assert started.status_code == 202
    assert "4 games against random" in started.json()["message"]
    here = started.headers["location"]
    assert here == f"/api/eval/{started.json()['id']}"
    ended = (await client.get(f"{here}?wait=10")).json()
    assert ended["state"] == "done"
    assert ended["result"]["games"] == 4
    listed = (await client.get("/api/eval")).json()["evaluations"]
    assert [item["id"] for item in listed] == [ended["id"]]


async def test_an_evaluation_can_be_followed_to_its_end(client: httpx.AsyncClient) -> None:
    started = await client.post("/api/eval", json={"opponent": "random", "games": 32})
    here = started.headers["location"]
    answer = await client.get(f"{here}/events")  # returns when the stream has ended
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.text.splitlines()
    assert {line for line in lines if line.startswith("event")} == {"event: evaluation"}
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data")]
    assert [found["progress"] for found in told] == sorted(found["progress"] for found in told)
    assert len(told) > 2
    assert (told[-1]["state"], told[-1]["id"]) == ("done", started.json()["id"])


async def test_an_evaluation_can_be_cancelled(client: httpx.AsyncClient) -> None:
    started = await client.post("/api/eval", json={"opponent": "material", "games": 400})
    here = started.headers["location"]
    assert (await client.delete(here)).status_code == 202
    assert (await client.get(f"{here}?wait=10")).json()["state"] == "cancelled"


async def test_the_number_of_games_defaults_to_the_settings(
    client: httpx.AsyncClient, run: FakeRun
) -> None:
    started = await client.post("/api/eval", json={"opponent": "random", "strategy": "single"})
    assert started.json()["games"] == run.settings.evaluation.games


async def test_an_idempotency_key_starts_one_evaluation(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "k1"}
    wanted = {"opponent": "random", "games": 2}
    first = await client.post("/api/eval", json=wanted, headers=key)
    again = await client.post("/api/eval", json=wanted, headers=key)
    assert first.headers["location"] == again.headers["location"]
    assert len(run.evaluations()) == 1

    async def reused(*_: object) -> None:
        raise KeyReused("used for another request")

    monkeypatch.setattr(run, "evaluate", reused)
    assert (await client.post("/api/eval", json=wanted, headers=key)).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"opponent": "god"}',
        '{"opponent": "random", "games": 3}',
        '{"opponent": "random", "games": "20"}',
        '{"opponent": "random", "games": 1e9}',
        '{"opponent": "random", "games": NaN}',
        '{"opponent": "random", "seed": -1}',
        '{"opponent": "random", "greedy": 1}',
        '{"opponent": "random", "strategy": "best"}',
        '{"opponent": "random", "sprt": [20, 0]}',
        '{"opponent": "usi:/bin/sh?nodes=1"}',
        '{"opponent": "random", "path": "/etc/passwd"}',
        "[" * 20_000,
    ],
)
async def test_bad_bodies_start_nothing(client: httpx.AsyncClient, run: FakeRun, body: str) -> None:
    answer = await client.post(
        "/api/eval", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]
    assert run.evaluations() == []


@pytest.mark.parametrize(
    ("opponent", "engines", "said"),
    [
        ("god", {}, "evaluation.engines, which has none."),
        ("materiel", {}, "did you mean material?"),
        ("gsp", {"gps": "usi:gps", "ape": "usi:ape"}, "did you mean gps?"),
        ("god", {"gps": "usi:gps", "ape": "usi:ape"}, "evaluation.engines, which has gps, ape."),
        ("usi:/bin/sh", {"gps": "usi:gps"}, "by its name in evaluation.engines, which has gps."),
        ("runs/nosuch", {}, "the folder of a run or checkpoint"),
    ],
)
async def test_an_unknown_opponent_is_told_who_there_is(
    client: httpx.AsyncClient, run: FakeRun, opponent: str, engines: dict[str, str], said: str
) -> None:
    evaluation = run.settings.evaluation.model_copy(update={"engines": engines})
    run.settings = run.settings.model_copy(update={"evaluation": evaluation})
    answer = await client.post("/api/eval", json={"opponent": opponent})
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert repr(opponent) in detail
    assert said in detail


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/api/eval", {"oponent": "random"}, "did you mean opponent?"),
        ("POST", "/api/eval", {"opponent": "random", "game": 4}, "did you mean games?"),
        ("GET", "/api/metrics?max_point=9", None, "did you mean max_points?"),
        ("GET", "/api/metrics?form=9", None, "did you mean from?"),
        ("GET", "/api/metrics?keys=train/kll", None, "did you mean train/kl?"),
        ("GET", "/api/status?zzz=1", None, "takes no fields"),
    ],
)
async def test_an_unknown_name_is_told_the_near_one(
    client: httpx.AsyncClient, method: str, path: str, body: Any, said: str
) -> None:
    answer = await client.request(method, path, json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


async def test_an_error_of_ours_is_a_problem_that_tells_nothing(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(run, "status", broken)
    answer = await client.get("/api/status")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


async def test_the_page_is_served_and_asked_for_anew(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    assert "Keisei" in page.text
    assert page.headers["cache-control"] == "no-cache"
    again = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    for path in ("/../pyproject.toml", "/%2e%2e/pyproject.toml", "//etc/passwd"):
        assert (await client.get(path)).status_code == 404
