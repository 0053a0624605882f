"""Schemathesis sends requests that it makes from the OpenAPI document."""

import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import anyio
import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from contract import DOCUMENT
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from starlette.requests import Request
from starlette.responses import Response

import keisei.server.app
from keisei.server import create_app, stream
from keisei.server.operations import Operation
from keisei.server.serve import address_of, bind, run_server
from keisei.testing import FakeRun, evaluations

CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance", "response_headers_conformance", "unsupported_method",
]  # fmt: skip


class Handled:
    """Counts the requests that reach an endpoint."""

    def __init__(self) -> None:
        self.count = 0

    def wrap(self, item: Operation) -> Operation:
        async def counted(request: Request, *arguments: Any) -> Response:
            self.count += 1
            return await item.endpoint(request, *arguments)

        return replace(item, endpoint=counted)


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> Handled:
    counter = Handled()
    wrapped = tuple(counter.wrap(item) for item in keisei.server.app.OPERATIONS)
    monkeypatch.setattr(keisei.server.app, "OPERATIONS", wrapped)
    return counter


@pytest.fixture
def url(handled: Handled, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fake run behind a real server, in a thread. It never stops, and its streams end at once."""
    frames = stream._frames

    async def first(*arguments: Any) -> AsyncIterator[bytes]:
        async for chunk in frames(*arguments):
            yield chunk
            return

    monkeypatch.setattr(stream, "_frames", first)
    monkeypatch.setattr(evaluations, "SECONDS", 0.001)
    monkeypatch.setattr(FakeRun, "stop", lambda self: None)
    started, address = threading.Event(), []
    stop: list[anyio.Event] = []

    async def serve() -> None:
        stop.append(anyio.Event())
        async with FakeRun(history=20, compile_seconds=0) as run:
            await run.until("running")
            with bind("127.0.0.1", 0) as sock:
                address.append(address_of(sock))
                started.set()
                await run_server(create_app(run), sock, stop[0])

    with start_blocking_portal() as portal:
        served = portal.start_task_soon(serve)
        assert started.wait(20)
        yield address[0]
        portal.call(stop[0].set)
        served.result(20)


def fuzz(
    url: str, seed: int, examples: int, phases: tuple[str, ...]
) -> tuple[Counter[int], list[str]]:
    """Run schemathesis; return the number of answers with each status, and the failures."""
    off = {
        phase: {"enabled": phase in phases}
        for phase in ("examples", "coverage", "fuzzing", "stateful")
    }
    checks = {"enabled": False} | {name: {"enabled": True} for name in CHECKS}
    config = SchemathesisConfig.from_dict(
        {
            "base-url": url,
            "seed": seed,
            "request-timeout": 30,
            "phases": off,
            "checks": checks,
            "generation": {"max-examples": examples, "database": "none"},
        }
    )
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=config)
    answers: Counter[int] = Counter()
    failures = []
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            error = event.info if isinstance(event, events.NonFatalError) else event.exception
            failures.append(f"{event.__class__.__name__}: {getattr(error, '_error', error)!r}")
        if not isinstance(event, events.ScenarioFinished):
            continue
        for found in event.recorder.interactions.values():
            if found.response is None:
                failures.append(f"no answer to {found.request.method} {found.request.uri}")
                continue
            answers[found.response.status_code] += 1
        failures += [
            f"{check.name}: {check.failure_info.failure}"
            for checked in event.recorder.checks.values()
            for check in checked
            if check.failure_info
        ]
    return answers, failures


def test_requests_made_from_the_document_get_the_answers_in_it(url: str, handled: Handled) -> None:
    answers, failures = fuzz(url, 1, 3, ("examples", "fuzzing"))
    assert failures == []
    assert handled.count > 20
    assert set(answers) <= {200, 202, 204, 404, 409, 422, 503}


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # schemathesis takes warnings of hypothesis for its errors
@pytest.mark.timeout(1800)
def test_5000_requests_get_answers_in_the_contract_and_most_reach_a_handler(
    url: str, handled: Handled
) -> None:
    answers: Counter[int] = Counter()
    for seed in (1, 2):
        found, failures = fuzz(url, seed, 120, ("examples", "coverage", "fuzzing", "stateful"))
        assert failures == []
        answers += found
    total = sum(answers.values())
    print(f"{total} cases, {handled.count} handled ({handled.count / total:.1%}): {answers}")
    assert not [status for status in answers if status >= 500 and status != 503]
    assert total >= 5000
    assert handled.count >= 0.6 * total
