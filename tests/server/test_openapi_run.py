"""The answers of a real run fit the OpenAPI document, as those of the fake run do."""

from pathlib import Path

import anyio
import httpx
import pytest
from contract import check_response
from run_tools import tiny

from keisei import Keisei
from keisei.events import Iteration
from keisei.server import create_app

pytestmark = [pytest.mark.anyio, pytest.mark.nightly, pytest.mark.timeout(300)]

PATHS = ["status", "version", "config", "metrics", "log", "games", "checkpoints", "ratings", "eval"]


async def test_a_real_run_answers_by_the_contract(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path)) as keisei:
        transport = httpx.ASGITransport(create_app(keisei))
        async with httpx.AsyncClient(
            transport=transport,
            base_url="http://localhost",
            event_hooks={"response": [check_response]},
        ) as client:
            async for event in keisei.events():
                if isinstance(event, Iteration) and event.iteration == 2:
                    break
            await client.post("/api/control/checkpoint")
            body = {"opponent": "random", "games": 2, "max_ply": 16}
            started = await client.post("/api/eval", json=body)
            here = started.headers["location"]
            assert (await client.get(f"{here}?wait=50")).json()["state"] == "done"
            found = {path: (await client.get(f"/api/{path}")).json() for path in PATHS}
            games = (await client.get(f"{here}/games?limit=1")).json()
            with anyio.fail_after(10):
                while not (await client.get("/api/checkpoints")).json()["checkpoints"]:  # noqa: ASYNC110
                    await anyio.sleep(0.1)
            await client.get(f"/api/games/{found['games']['games'][0]['id']}")
    assert games["games"]
    assert games["next"] == games["games"][-1]["id"]
    assert found["ratings"]["ratings"]
    assert found["log"]["events"]
    assert found["games"]["games"]
