"""``/metrics``, as Prometheus reads it."""

import shutil
import subprocess

import httpx
import pytest
from prometheus_client import Metric, parser
from prometheus_client.openmetrics import parser as openmetrics
from starlette.applications import Starlette

from keisei.metrics import METRICS
from keisei.server.prometheus import metric_name
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


async def read(client: httpx.AsyncClient) -> dict[str, Metric]:
    """The metrics by name, from the text format."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in parser.text_string_to_metric_families(answer.text)}


def value(family: Metric, **labels: str) -> float:
    [found] = [s.value for s in family.samples if labels.items() <= s.labels.items()]
    return found


async def test_counts_come_from_the_run(client: httpx.AsyncClient, run: FakeRun) -> None:
    run.alert("x", "error", "y")
    found = await read(client)
    assert value(found["keisei_steps"]) == run.step >= 20 * 4096
    assert value(found["keisei_iterations"]) == run.step / 4096
    assert value(found["keisei_alerts"], level="error") == 1
    assert value(found["keisei_games"]) == 18 * run.step / 4096
    assert value(found["keisei_state"], keisei_state="running") == 1
    assert value(found["keisei_state"], keisei_state="paused") == 0
    assert value(found["keisei_run_info"], run=run.status().run) == 1
    assert "version" in found["keisei_build_info"].samples[0].labels


async def test_the_newest_metrics_are_gauges_in_base_units(
    client: httpx.AsyncClient, run: FakeRun
) -> None:
    run.telemetry.values |= {"system/loop_lag_ms": 25.0, "speed/share_env": 0.125}
    found = await read(client)
    assert value(found["keisei_system_loop_lag_seconds"]) == 0.025
    assert value(found["keisei_speed_share_env_ratio"]) == 0.125
    assert value(found["keisei_train_kl"]) == run.telemetry.values["train/kl"]
    assert found["keisei_train_kl"].documentation.startswith("Estimated KL divergence")


def test_every_metric_has_a_name_of_its_own() -> None:
    names = [metric_name(metric) for metric in METRICS]
    assert len({*names}) == len(names)
    assert not [name for name in names if name.endswith(("_ms", "_ratio_ratio", "_total"))]


async def test_ages_are_missing_until_they_are_known(
    client: httpx.AsyncClient, run: FakeRun
) -> None:
    assert "keisei_checkpoint_age_seconds" not in await read(client)
    run.checkpoint_age = 7.5
    assert value((await read(client))["keisei_checkpoint_age_seconds"]) == 7.5


async def test_requests_are_timed_by_the_template_of_their_route(
    client: httpx.AsyncClient,
) -> None:
    for path in ("/api/games/1", "/api/games/999", "/api/status", "/.git/config"):
        await client.get(path)
    await client.request("BREW", "/api/status")
    times = (await read(client))["keisei_http_request_seconds"]
    counts = {
        tuple(sample.labels[name] for name in ("method", "route", "status")): sample.value
        for sample in times.samples
        if sample.name.endswith("_count")
    }
    assert counts == {
        ("GET", "/api/games/{id}", "200"): 1,
        ("GET", "/api/games/{id}", "404"): 1,
        ("GET", "/api/status", "200"): 1,
        ("GET", "page", "404"): 1,
        ("other", "/api/status", "405"): 1,
    }


async def test_openmetrics_is_sent_to_those_who_accept_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics", headers=OPENMETRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = [*openmetrics.text_string_to_metric_families(answer.text)]  # type: ignore[no-untyped-call]
    assert {"keisei_steps", "keisei_state", "keisei_loop_lag_seconds"} <= {f.name for f in families}


async def test_two_applications_share_no_numbers(client: httpx.AsyncClient, run: FakeRun) -> None:
    from keisei.server import create_app

    await client.get("/api/status")
    other = httpx.ASGITransport(create_app(run))
    async with httpx.AsyncClient(transport=other, base_url="http://localhost:8700") as second:
        assert (await read(second))["keisei_http_request_seconds"].samples == []


async def test_promtool_finds_nothing_to_complain_about(
    client: httpx.AsyncClient, app: Starlette, run: FakeRun
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool (Debian: apt-get install prometheus)")
    run.telemetry.values |= {metric.name: 0.5 for metric in METRICS}
    run.checkpoint_age = 1.0
    await client.get("/api/status")
    text = (await client.get("/metrics")).text
    checked = subprocess.run(  # noqa: ASYNC221 (nothing else runs on this loop)
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
