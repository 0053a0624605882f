"""The routes that read a run's data, send the four commands, and check the server's health."""

import math
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response

from keisei.config import Settings
from keisei.feed.supervise import ALLOWANCE
from keisei.hint import did_you_mean
from keisei.metrics import METRICS, NAMES
from keisei.runtime.commands import CommandName
from keisei.runtime.status import StatusReport
from keisei.server.answers import LINK, Json, in_thread, read_page
from keisei.server.documents import (
    Accepted,
    Alive,
    Checkpoints,
    LogPage,
    MetricCatalog,
    MetricHistory,
    Ratings,
    Ready,
    Versions,
)
from keisei.server.models import MetricsQuery, PageQuery
from keisei.server.operations import operation
from keisei.server.problems import Problem
from keisei.server.public import visible_checkpoints, visible_settings
from keisei.server.runs import reader_of
from keisei.server.source import Reader, Source

COMMAND: dict[str, Any] = {
    "answer": Accepted,
    "status": 202,
    "problems": {
        409: "The state of the run does not allow the command.",
        503: "Too many commands wait.",
    },
}
"""The part of the declaration that the four commands share."""

FREE_BYTES = 2**30
"""Free disk space, in bytes, below which ``/readyz`` answers 503."""


@operation("GET", "/api/status", answer=StatusReport)
async def status(request: Request) -> Response:
    """Return the state of the run."""
    return Json(_source(request).status().to_dict())


@operation("GET", "/api/version", answer=Versions)
async def versions(request: Request) -> Response:
    """Return the versions of Python and of the main packages."""
    return Json(await in_thread(request, _versions))


@operation("GET", "/api/config", answer=Settings)
async def config(request: Request) -> Response:
    """Return the settings in use; on a public board, only those that describe the training."""
    return Json(visible_settings(_source(request).settings))


@operation(
    "GET",
    "/api/metrics",
    query=MetricsQuery,
    answer=MetricHistory,
    problems={404: "There is no such run."},
)
async def metrics(request: Request, query: MetricsQuery) -> Response:
    """Return the history of the metrics ``keys=a,b`` between the steps ``from=`` and ``to=``.

    ``max_points=`` limits the number of points per metric. If ``after=`` has the ``cursor`` of an
    earlier answer, only later iterations are returned. ``run=`` names another run in the folder
    ``run.root``.
    """
    reader = await reader_of(request, query.run)
    return await in_thread(request, _read_metrics, reader, query)


def _read_metrics(reader: Reader, query: MetricsQuery) -> Response:
    found = reader.metrics(**query.model_dump(exclude={"run"}))
    unknown = [
        key
        for key in query.keys or ()
        if key not in NAMES and not found["series"][key]["iteration"]
    ]
    if unknown:
        known = NAMES | reader.metrics(max_points=5)["series"].keys()
        for key in unknown:
            if key not in known:
                hint = did_you_mean(key, known)
                raise Problem(
                    422,
                    f"There is no metric {key!r}{hint or '.'} Known metrics: {', '.join(sorted(known))}",
                )
    return Json(found, compact=True)


@operation("GET", "/api/metrics/catalog", answer=MetricCatalog)
async def catalog(request: Request) -> Response:
    """Return the name, meaning, unit, better direction and condition of each metric."""
    return Json({"metrics": [asdict(metric) for metric in METRICS]})


@operation("GET", "/api/log", query=PageQuery, answer=LogPage, sends=LINK)
async def log(request: Request, query: PageQuery) -> Response:
    """Return at most ``limit=`` statuses and alerts, newest first; ``after=`` gives the next page.

    The first page begins with events that are not in the database (yet). These events have
    no ``id``.
    """
    return await read_page(request, query, "events", _source(request).history)


@operation("GET", "/api/checkpoints", answer=Checkpoints)
async def checkpoints(request: Request) -> Response:
    """Return the run's checkpoints."""
    source = _source(request)
    found = await in_thread(request, source.reader.checkpoints)
    return Json({"checkpoints": visible_checkpoints(source.settings, found)})


@operation("GET", "/api/ratings", answer=Ratings)
async def ratings(request: Request) -> Response:
    """Return the ratings of all players in the run's evaluations, strongest player first."""
    found = await in_thread(request, _source(request).reader.ratings)
    return Json({"ratings": found})


@operation("POST", "/api/control/pause", **COMMAND)
async def pause(request: Request) -> Response:
    """Pause training; evaluation continues."""
    return _submit(request, "pause", "Training pauses.")


@operation("POST", "/api/control/resume", **COMMAND)
async def resume(request: Request) -> Response:
    """Continue training."""
    return _submit(request, "resume", "Training continues.")


@operation("POST", "/api/control/checkpoint", **COMMAND)
async def checkpoint(request: Request) -> Response:
    """Save a checkpoint after the iteration in progress."""
    return _submit(request, "checkpoint", "A checkpoint will be saved after this iteration.")


@operation("POST", "/api/control/stop", **COMMAND)
async def stop(request: Request) -> Response:
    """Ask the run to end, as SIGTERM does."""
    _source(request).stop()
    return _accepted(request, "The run will save a checkpoint and end.")


@operation("GET", "/healthz", answer=Alive)
async def healthz(request: Request) -> Response:
    """Answer 200, which shows that the event loop runs."""
    return Json({"status": "ok"})


@operation(
    "GET", "/readyz", answer=Ready, problems={503: "The run is not ready; `detail` says why."}
)
async def readyz(request: Request) -> Response:
    """Answer 200 if the run works, otherwise 503 with the reason.

    The run is not ready if its state is ``failed``, ``stopping``, ``stopped``, ``stale`` or
    ``killed``, if its device thread is silent, or if a checkpoint is overdue. The run is also not
    ready if a part outside training, such as a sink, has failed, or if the disk is nearly full.
    """
    source = _source(request)
    report = source.status()
    if report.state in {"failed", "stopping", "stopped", "stale", "killed"}:
        raise Problem(503, f"The run is {report.state}. {report.message}".strip())
    if report.degraded:
        raise Problem(503, f"Training continues without {'; '.join(report.degraded)}")
    if report.beat_age > ALLOWANCE.get(report.phase, math.inf):
        silent = f"{report.beat_age:.0f} s in phase {report.phase}"
        raise Problem(503, f"The device thread has been silent for {silent}.")
    if path := source.reader.path:
        free = (await anyio.to_thread.run_sync(shutil.disk_usage, path)).free
        if free < FREE_BYTES:
            raise Problem(503, f"The disk has only {free / 2**20:.0f} MiB left for {path}.")
    age, every = report.checkpoint_age, source.settings.run.checkpoint_seconds
    if report.state == "running" and age is not None and age > 3 * every + 60:
        raise Problem(
            503, f"The newest checkpoint is {age:.0f} s old; a new one was due after {every:.0f} s."
        )
    return Json({"status": "ready", "state": report.state})


def _submit(request: Request, kind: CommandName, message: str) -> Response:
    _source(request).submit(kind)
    return _accepted(request, message)


def _source(request: Request) -> Source:
    source: Source = request.app.state.source
    return source


def _accepted(request: Request, message: str) -> Response:
    body: dict[str, Any] = {"message": message, "state": _source(request).status().state}
    return Json(body, 202)


def _versions() -> dict[str, str | None]:
    packages = ("keisei", "torch", "numba", "numpy", "starlette")
    found = {name: package_version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def package_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:  # Keisei runs from a checkout that is not installed
        return None


OPERATIONS = [
    status,
    versions,
    config,
    metrics,
    catalog,
    log,
    checkpoints,
    ratings,
    pause,
    resume,
    checkpoint,
    stop,
    healthz,
    readyz,
]
