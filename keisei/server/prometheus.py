"""``/metrics``: the run's numbers in Prometheus' text format or in OpenMetrics."""

import platform
import time
from collections.abc import Iterator
from functools import cache
from typing import get_args

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keisei.events import Level, State
from keisei.feed.distribution import Distribution
from keisei.metrics import METRICS
from keisei.metrics import Metric as RunMetric
from keisei.runtime.status import StatusReport
from keisei.runtime.telemetry import Telemetry
from keisei.server.answers import in_thread
from keisei.server.operations import operation
from keisei.server.routes import package_version
from keisei.server.source import Source

REQUEST_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
"""Upper bounds of the buckets, in seconds from a request to the head of its answer."""
METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
"""Methods that have a label of their own; all others share the label ``other``."""
PAGE = "page"
"""Label of requests that no route of the API answers, such as requests for the page's files."""

_BASE_UNITS = {"ms": ("_seconds", "_ms", 0.001), "share": ("_ratio", "_ratio", 1.0)}
"""For each unit to convert: the new end of a metric's name, the old end, and the factor."""
_STATES: tuple[State, ...] = get_args(State)
_LEVELS: tuple[Level, ...] = get_args(Level)


class RequestTimes:
    """ASGI middleware that measures the time until each request gets the head of its answer.

    An event stream stays open for hours, so the time to the end of the answer would say nothing.
    """

    def __init__(self, app: ASGIApp, found: dict[tuple[str, str, str], Distribution]) -> None:
        """``found``: distributions by method, route and status, which this middleware updates."""
        self.app = app
        self._found = found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        began = time.perf_counter()

        async def measure(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(scope, message["status"], time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, measure)

    def _add(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        labels = method, getattr(scope.get("route"), "path", PAGE), str(status)
        self._found.setdefault(labels, Distribution(REQUEST_SECONDS)).add(seconds)


@operation(
    "GET",
    "/metrics",
    media="text/plain",
    other_media=("application/openmetrics-text",),
    headers={"Accept": "`application/openmetrics-text` asks for OpenMetrics."},
)
async def metrics(request: Request) -> Response:
    """Return the run's numbers for Prometheus, in its text format or in OpenMetrics."""
    state = request.app.state
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    # The numbers are read on the event loop, which owns them, and encoded in a thread.
    found = [*_families(state.source), _requests(state.request_times)]
    text = await in_thread(request, lambda: encode(_Snapshot([_build(), *found])))
    return Response(text, headers={"Content-Type": kind, "Cache-Control": "no-store"})


class _Snapshot(CollectorRegistry):
    """The numbers of one moment, in the form of the registry that an encoder expects."""

    def __init__(self, families: list[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Return the numbers."""
        return iter(self._families)


def metric_name(metric: RunMetric) -> str:
    """Return the Prometheus name of a run's metric, such as ``keisei_train_kl``."""
    name = "keisei_" + metric.name.replace("/", "_")
    end, old, _ = _BASE_UNITS.get(metric.unit, ("", "", 1.0))
    return name.removesuffix(old) + end


def _families(source: Source) -> Iterator[Metric]:
    report, telemetry = source.status(), source.telemetry
    yield _run(report)
    yield StateSetMetricFamily(
        "keisei_state", "State of the run.", {state: state == report.state for state in _STATES}
    )
    yield from _counters(report, telemetry)
    yield from _gauges(report)
    yield _histogram(
        "keisei_iteration_seconds",
        "Seconds per iteration, including the time of evaluations.",
        telemetry.iteration_seconds,
    )
    yield _histogram(
        "keisei_loop_lag_seconds",
        "Delay of the event loop's timers, measured four times a second.",
        telemetry.loop_lag,
    )
    for metric in METRICS:
        if metric.name in telemetry.values:
            value = telemetry.values[metric.name] * _BASE_UNITS.get(metric.unit, ("", "", 1.0))[2]
            yield GaugeMetricFamily(metric_name(metric), metric.meaning, value)


def _run(report: StatusReport) -> Metric:
    names = ("run", "device", "dtype", "threads", "net")
    labels = {name: str(getattr(report, name)) for name in names}
    return InfoMetricFamily("keisei_run", "The run, its network and its device.", labels)


@cache
def _build() -> Metric:
    """Return the versions. The first call reads files."""
    labels = {
        "version": package_version("keisei") or "unknown",
        "python": platform.python_version(),
    }
    return InfoMetricFamily("keisei_build", "Versions of Keisei and Python.", labels)


def _counters(report: StatusReport, telemetry: Telemetry) -> Iterator[Metric]:
    for name, meaning, value in (
        ("steps", "Steps (plies) of training, in all processes of the run.", report.step),
        ("iterations", "Iterations, in all processes of the run.", report.iteration),
        ("training_seconds", "Seconds of training, in all processes of the run.", report.elapsed),
        ("games", "Self-play games that ended since this process started.", telemetry.games),
        (
            "dropped_events",
            "Events that were dropped because a queue was full, since this process started.",
            report.dropped,
        ),
    ):
        yield CounterMetricFamily(f"keisei_{name}", meaning, value)
    alerts = CounterMetricFamily(
        "keisei_alerts", "Alerts since this process started.", labels=["level"]
    )
    for level in _LEVELS:
        alerts.add_metric([level], telemetry.alerts[level])
    yield alerts


def _gauges(report: StatusReport) -> Iterator[Metric]:
    found: list[tuple[str, str, float | None]] = [
        ("start_time_seconds", "Unix time at which this process opened the run.", report.started),
        (
            "heartbeat_age_seconds",
            "Seconds since the device thread last reported its phase.",
            report.beat_age,
        ),
        (
            "checkpoint_age_seconds",
            "Seconds since the newest checkpoint was saved; missing before the first checkpoint.",
            report.checkpoint_age,
        ),
        ("checkpoint_step", "Step of the newest checkpoint.", report.checkpoint),
        ("clients", "Open event streams.", report.clients),
        (
            "failed_parts",
            "Parts outside training that have stopped working; /readyz names them.",
            len(report.degraded),
        ),
    ]
    for name, meaning, value in found:
        if value is not None:
            yield GaugeMetricFamily(f"keisei_{name}", meaning, value)


def _histogram(name: str, meaning: str, found: Distribution) -> Metric:
    return HistogramMetricFamily(name, meaning, buckets=found.cumulative(), sum_value=found.sum)


def _requests(found: dict[tuple[str, str, str], Distribution]) -> Metric:
    family = HistogramMetricFamily(
        "keisei_http_request_seconds",
        "Seconds from a request to the head of its answer.",
        labels=["method", "route", "status"],
    )
    for labels, times in found.items():
        family.add_metric(labels, times.cumulative(), times.sum)
    return family


OPERATIONS = [metrics]
