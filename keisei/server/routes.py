"""The routes that read a run's data, send the four commands, and check the server's health."""

import math
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keisei.feed.supervise import ALLOWANCE
from keisei.hint import did_you_mean
from keisei.metrics import METRICS, NAMES
from keisei.runtime.commands import CommandName
from keisei.server.answers import Json, in_thread
from keisei.server.models import MAX_DIGITS, MetricsQuery, NoQuery, PageQuery, parse_query
from keisei.server.problems import Problem
from keisei.server.source import Reader, Source

FREE_BYTES = 2**30
"""Free disk space, in bytes, below which ``/readyz`` answers 503."""


async def status(request: Request) -> Response:
    """Return the state of the run."""
    parse_query(NoQuery, request)
    return Json(_source(request).status().to_dict())


async def versions(request: Request) -> Response:
    """Return the versions of Python and of the main packages."""
    parse_query(NoQuery, request)
    return Json(await in_thread(request, _versions))


async def config(request: Request) -> Response:
    """Return the settings in use."""
    parse_query(NoQuery, request)
    return Json(_source(request).settings.model_dump(mode="json"))


async def metrics(request: Request) -> Response:
    """Return the history of the metrics ``keys=a,b`` between the steps ``from=`` and ``to=``.

    ``max_points=`` limits the number of points per metric. If ``after=`` has the ``cursor`` of an
    earlier answer, only later iterations are returned.
    """
    query = parse_query(MetricsQuery, request)
    return await in_thread(request, _read_metrics, _source(request).reader, query)


def _read_metrics(reader: Reader, query: MetricsQuery) -> Response:
    found = reader.metrics(**query.model_dump())
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
                    f"There is no metric {key!r}{hint or '.'} There are: {', '.join(sorted(known))}",
                )
    return Json(found, compact=True)


async def catalog(request: Request) -> Response:
    """Return the name, meaning, unit, better direction and condition of each metric."""
    parse_query(NoQuery, request)
    return Json({"metrics": [asdict(metric) for metric in METRICS]})


async def games(request: Request) -> Response:
    """Return at most ``limit=`` recorded games, newest first; ``after=`` selects the next page."""
    return await _page(request, "games", _source(request).reader.games)


async def log(request: Request) -> Response:
    """Return at most ``limit=`` statuses and alerts, newest first; ``after=`` gives the next page.

    The first page begins with events that the database does not have (yet). These have no ``id``.
    """
    return await _page(request, "events", _source(request).history)


async def game(request: Request) -> Response:
    """Return one recorded game."""
    parse_query(NoQuery, request)
    id: str = request.path_params["id"]
    found = None
    if id.isdecimal() and len(id) <= MAX_DIGITS:
        found = await in_thread(request, _source(request).reader.game, int(id))
    if found is None:
        raise Problem(404, f"There is no recorded game {id!r}.")
    return Json(found)


async def checkpoints(request: Request) -> Response:
    """Return the run's checkpoints."""
    parse_query(NoQuery, request)
    found = await in_thread(request, _source(request).reader.checkpoints)
    return Json({"checkpoints": found})


async def ratings(request: Request) -> Response:
    """Return the ratings of all players in the run's evaluations, strongest player first."""
    parse_query(NoQuery, request)
    found = await in_thread(request, _source(request).reader.ratings)
    return Json({"ratings": found})


async def pause(request: Request) -> Response:
    """Pause training; evaluation continues."""
    return _submit(request, "pause", "Training pauses.")


async def resume(request: Request) -> Response:
    """Continue training."""
    return _submit(request, "resume", "Training continues.")


async def checkpoint(request: Request) -> Response:
    """Save a checkpoint after the iteration in progress."""
    return _submit(request, "checkpoint", "A checkpoint will be saved after this iteration.")


async def stop(request: Request) -> Response:
    """Ask the run to end, as SIGTERM does."""
    parse_query(NoQuery, request)
    _source(request).stop()
    return _accepted(request, "The run will save a checkpoint and end.")


async def healthz(request: Request) -> Response:
    """Answer 200, which shows that the event loop runs."""
    parse_query(NoQuery, request)
    return Json({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Answer 200 if the run works, otherwise 503 with the reason.

    The run is not ready if it failed or was stopped, if its device thread is silent, or if
    checkpoints are overdue. It is also not ready if a sink or another part outside training has
    failed, or if the disk is nearly full.
    """
    parse_query(NoQuery, request)
    source = _source(request)
    report = source.status()
    if report.state in {"failed", "stopping", "stopped"}:
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


async def _page(request: Request, name: str, read: Callable[..., list[dict[str, Any]]]) -> Response:
    query = parse_query(PageQuery, request)
    found = await in_thread(request, partial(read, **query.model_dump()))
    more = found[-1].get("id") if len(found) >= query.limit else None
    return await in_thread(request, Json, {name: found, "next": more})


def _submit(request: Request, kind: CommandName, message: str) -> Response:
    parse_query(NoQuery, request)
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
    found = {name: _version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # Keisei runs from a checkout that is not installed
        return None


ROUTES = [
    Route("/api/status", status),
    Route("/api/version", versions),
    Route("/api/config", config),
    Route("/api/metrics", metrics),
    Route("/api/metrics/catalog", catalog),
    Route("/api/log", log),
    Route("/api/games", games),
    Route("/api/games/{id}", game),
    Route("/api/checkpoints", checkpoints),
    Route("/api/ratings", ratings),
    Route("/api/control/pause", pause, methods=["POST"]),
    Route("/api/control/resume", resume, methods=["POST"]),
    Route("/api/control/checkpoint", checkpoint, methods=["POST"]),
    Route("/api/control/stop", stop, methods=["POST"]),
    Route("/healthz", healthz),
    Route("/readyz", readyz),
]
