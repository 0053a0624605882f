"""The routes below ``/api/eval``."""

import json

import httpx
import pytest

from keisei.errors import KeyReused
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio


async def test_an_evaluation_is_started_awaited_and_listed(client: httpx.AsyncClient) -> None:
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
        ("god", {}, "evaluation.engines (now: none)."),
        ("materiel", {}, "did you mean material?"),
        ("gsp", {"gps": "usi:gps", "ape": "usi:ape"}, "did you mean gps?"),
        ("god", {"gps": "usi:gps", "ape": "usi:ape"}, "evaluation.engines (now: gps, ape)."),
        (
            "usi:/bin/sh",
            {"gps": "usi:gps"},
            "name of an engine in the setting evaluation.engines (now: gps).",
        ),
        ("runs/nosuch", {}, "the folder of a run or checkpoint"),
    ],
)
async def test_an_unknown_opponent_is_answered_with_the_known_ones(
    client: httpx.AsyncClient, run: FakeRun, opponent: str, engines: dict[str, str], said: str
) -> None:
    evaluation = run.settings.evaluation.model_copy(update={"engines": engines})
    run.settings = run.settings.model_copy(update={"evaluation": evaluation})
    answer = await client.post("/api/eval", json={"opponent": opponent})
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert repr(opponent) in detail
    assert said in detail
