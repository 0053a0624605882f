"""The list of runs over HTTP, and the metrics of another run."""

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from keisei.config import Settings
from keisei.events import Iteration
from keisei.server import create_app
from keisei.store import Database, RunDirectory
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with five runs: run4 is the newest one, and run2 is damaged."""
    for number in range(5):
        with RunDirectory.create(Settings(), tmp_path / "runs" / f"run{number}") as made:
            database = Database(made.database)
            where: dict[str, Any] = {"run": made.id, "step": 100 + number, "time": 1.0}
            database.append([Iteration(iteration=1, values={"train/kl": number / 8}, **where)])
            database.close()
        os.utime(made.path / "run.toml", (number, number))
    (tmp_path / "runs" / "run2" / "keisei.db").write_bytes(b"x" * 5000)
    RunDirectory.create(Settings(), tmp_path / "secret").close()
    return tmp_path / "runs"


@pytest.fixture
def app(run: FakeRun, root: Path) -> Starlette:
    """The application of a fake run whose ``run.root`` contains the five runs."""
    settings = run.settings
    run.settings = settings.model_copy(
        update={"run": settings.run.model_copy(update={"root": root})}
    )
    run.reader.path = root / "run3"
    return create_app(run)


async def test_runs_come_in_pages_newest_first(client: httpx.AsyncClient) -> None:
    ids, path, this = [], "/api/runs?limit=2", []
    while path:
        answer = await client.get(path)
        found = answer.json()["runs"]
        ids += [run["id"] for run in found]
        this += [run["id"] for run in found if run["this"]]
        path = answer.links.get("next", {}).get("url")
    assert ids == ["run4", "run3", "run2", "run1", "run0"]
    assert this == ["run3"]
    assert (await client.get("/api/runs?after=gone")).json() == {"runs": [], "next": None}


async def test_a_damaged_run_is_an_entry_with_its_problem(client: httpx.AsyncClient) -> None:
    found = {run["id"]: run for run in (await client.get("/api/runs")).json()["runs"]}
    assert "keisei.db" in found["run2"]["problem"]
    assert (found["run1"]["problem"], found["run1"]["step"]) == (None, 101)
    assert (await client.get("/api/runs/run1")).json() == found["run1"]


async def test_this_run_is_listed_even_if_it_is_elsewhere(
    client: httpx.AsyncClient, run: FakeRun, root: Path
) -> None:
    run.reader.path = root.parent / "secret"
    found = (await client.get("/api/runs?limit=1")).json()["runs"]
    assert [(one["id"], one["this"]) for one in found] == [("secret", True)]


async def test_a_public_board_shows_no_other_run(client: httpx.AsyncClient, run: FakeRun) -> None:
    server = run.settings.server.model_copy(update={"read_only": True})
    run.settings = run.settings.model_copy(update={"server": server})
    found = (await client.get("/api/runs")).json()["runs"]
    assert [one["id"] for one in found] == ["run3"]
    assert (await client.get("/api/runs/run1")).status_code == 404
    assert (await client.get("/api/metrics?run=run1")).status_code == 404


async def test_metrics_of_another_run_are_read_from_its_files(
    client: httpx.AsyncClient, run: FakeRun
) -> None:
    found = (await client.get("/api/metrics?run=run1&keys=train/kl")).json()
    assert found["series"]["train/kl"]["value"] == [0.125]
    own = (await client.get(f"/api/metrics?run={run.status().run}&keys=train/kl")).json()
    assert len(own["series"]["train/kl"]["value"]) >= 20


@pytest.mark.parametrize(
    "id", ["run9", "..%2Fsecret", "..", "%2E%2E", "a%00b", "x" * 255, "run1%2F..%2Frun1"]
)
async def test_no_id_leads_out_of_the_folder(client: httpx.AsyncClient, id: str) -> None:
    assert (await client.get(f"/api/metrics?run={id}")).status_code == 404
    assert (await client.get(f"/api/runs/{id}")).status_code == 404
