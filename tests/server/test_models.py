"""Queries and bodies that the models refuse."""

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio


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


async def test_an_unknown_topic_is_answered_with_the_known_ones(client: httpx.AsyncClient) -> None:
    detail = (await client.get("/api/events?topics=status,boards")).json()["detail"]
    assert "'board'" in detail
    assert "'metrics'" in detail


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
async def test_an_unknown_name_is_answered_with_the_nearest_one(
    client: httpx.AsyncClient, method: str, path: str, body: Any, said: str
) -> None:
    answer = await client.request(method, path, json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


async def test_the_number_and_length_of_metric_names_are_limited(client: httpx.AsyncClient) -> None:
    keys = ",".join(f"k{n}" for n in range(9000))
    for query in (f"keys={keys}", f"keys={'k' * 101}", "max_points=20001"):
        answer = await client.get(f"/api/metrics?{query}")
        assert answer.status_code == 422
        assert len(answer.text) < 1000
