"""Clients that send too many requests which change something."""

import httpx
import pytest
from contract import check_response
from starlette.applications import Starlette

from keisei.server import rates
from keisei.server.rates import AddressBuckets, Bucket

pytestmark = pytest.mark.anyio

REMOTE = ("192.0.2.7", 1)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    bucket = Bucket(3, 2.0, clock)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now = 0.5
    assert [bucket.take() for _ in range(2)] == [0, 0.5]
    clock.now = 1e6
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]


def test_each_address_has_its_own_bucket_and_few_addresses_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "ADDRESSES", 2)
    buckets = AddressBuckets(1, 1.0, Clock())
    assert [buckets.take(address) for address in "aabb"] == [0, 1, 0, 1]
    buckets.take("a")
    assert buckets.take("c") == 0  # forgets b, which asked before a
    assert buckets.take("a") == 1
    assert buckets.take("b") == 0
    assert len(buckets._buckets) == 2


def client(app: Starlette, address: tuple[str, int]) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=address)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8700")


async def test_a_flood_of_one_address_is_answered_429_and_others_are_served(
    app: Starlette,
) -> None:
    async with client(app, REMOTE) as flooding, client(app, ("192.0.2.8", 1)) as other:
        answers = [
            await flooding.post("/api/control/resume") for _ in range(rates.BURST_OF_ADDRESS + 40)
        ]
        late = next(answer for answer in answers if answer.status_code == 429)
        assert answers.index(late) >= rates.BURST_OF_ADDRESS
        assert int(late.headers["retry-after"]) >= 1
        await check_response(late)
        assert (await flooding.get("/api/status")).status_code == 200
        assert (await other.post("/api/control/resume")).status_code == 202


async def test_all_clients_together_have_a_limit(
    app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "BURST", 3)
    monkeypatch.setattr(rates, "A_SECOND", 0.001)
    async with client(app, ("127.0.0.1", 1)) as here, client(app, REMOTE) as there:
        found = [(await here.post("/api/control/resume")).status_code for _ in range(3)]
        assert found == [202, 202, 202]
        assert (await here.delete("/api/eval/x")).status_code == 429
        assert (await there.post("/api/control/resume")).status_code == 429
        assert (await here.get("/healthz")).status_code == 200


async def test_a_refused_foreign_request_uses_up_no_token(
    app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "BURST", 1)
    async with client(app, REMOTE) as stranger:
        for _ in range(5):
            answer = await stranger.post(
                "/api/control/resume", headers={"Sec-Fetch-Site": "cross-site"}
            )
            assert answer.status_code == 403
        assert (await stranger.post("/api/control/resume")).status_code == 202
