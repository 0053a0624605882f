"""The routes below ``/api/eval``: start, list, follow and cancel evaluations."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import anyio
from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from keisei.evaluation.network_options import split_options
from keisei.evaluation.spec import CURRENT, EvaluationSpec, rules_in
from keisei.events import dumps
from keisei.runtime.evaluation_records import EvaluationRecord
from keisei.server.answers import LINK, Json, address, in_thread, make_page, read_page
from keisei.server.documents import (
    EvaluationFields,
    EvaluationGamePage,
    EvaluationPage,
    StartedEvaluation,
)
from keisei.server.models import EvalRequest, EvaluationsQuery, PageQuery, WaitQuery
from keisei.server.named_players import find_player
from keisei.server.operations import operation
from keisei.server.problems import Problem
from keisei.server.source import Source
from keisei.server.stream import EventStream

TICK = 0.25
"""Minimum time between two events of a stream, in seconds."""
ONE: dict[str, Any] = {
    "id": "Id of the evaluation.",
    "problems": {404: "There is no such evaluation."},
}
"""The part of the declaration that all operations on one evaluation share."""
MAX_KEY = 255
"""Maximum number of characters of an ``Idempotency-Key``."""


@operation("GET", "/api/eval", query=EvaluationsQuery, answer=EvaluationPage, sends=LINK)
async def evaluations(request: Request, query: EvaluationsQuery) -> Response:
    """Return at most ``limit=`` evaluations, newest first; ``after=`` selects the next page."""
    found = _source(request).evaluation_records.list(query.limit, query.after)
    return await in_thread(request, make_page, request, query, "evaluations", found)


@operation(
    "POST",
    "/api/eval",
    body=EvalRequest,
    answer=StartedEvaluation,
    status=202,
    headers={"Idempotency-Key": "Requests with the same key start only one evaluation."},
    sends={
        "Location": "Address of the evaluation.",
        "Retry-After": "Seconds to wait before the first request for the evaluation.",
    },
    problems={409: "The run has ended.", 503: "Too many evaluations wait or are in progress."},
)
async def start(request: Request, wanted: EvalRequest) -> Response:
    """Start an evaluation of the current network, while training continues."""
    source = _source(request)
    spec = await in_thread(request, _make_spec, wanted, source)  # reads the disk
    handle = await source.evaluate(spec, _idempotency_key(request))
    here = address(request, f"/api/eval/{handle.id}")
    record = source.evaluation_records.get(handle.id)
    body = {
        "id": handle.id,
        **(record.fields if record else {}),
        "message": f"{spec.games} games {_describe_opponents(spec)}, played beside training.",
        "follow": f"{here}?wait=30",
    }
    return Json(body, 202, {"Location": here, "Retry-After": "5"})


@operation("GET", "/api/eval/{id}", query=WaitQuery, answer=EvaluationFields, **ONE)
async def evaluation(request: Request, query: WaitQuery) -> Response:
    """Return the evaluation. ``wait=30`` waits at most 30 seconds for the end of the evaluation."""
    record = _requested(request)
    with anyio.move_on_after(query.wait):
        await record.done.wait()
    return Json(record.fields)


@operation("DELETE", "/api/eval/{id}", answer=EvaluationFields, status=202, **ONE)
async def cancel(request: Request) -> Response:
    """Cancel the evaluation."""
    record = _requested(request)
    record.cancel()
    return Json(record.fields, 202)


@operation(
    "GET",
    "/api/eval/{id}/events",
    media="text/event-stream",
    answer={"evaluation": EvaluationFields},
    id=ONE["id"],
    problems={**ONE["problems"], 503: "All event streams are in use."},
)
async def events(request: Request) -> Response:
    """Stream the evaluation's fields, now and after changes, until the evaluation ends."""
    changes = _requested(request).follow()
    return EventStream(_frames(changes), request.app.state.streams)


async def _frames(changes: AsyncGenerator[dict[str, Any], None]) -> AsyncIterator[bytes]:
    async with aclosing(changes):
        async for found in changes:
            yield ServerSentEvent(dumps(found), event="evaluation").encode()
            await anyio.sleep(TICK)


@operation(
    "GET",
    "/api/eval/{id}/games",
    query=PageQuery,
    answer=EvaluationGamePage,
    sends=LINK,
    **ONE,
)
async def games(request: Request, query: PageQuery) -> Response:
    """Return a page of the evaluation's games so far, newest first, without their moves."""
    read = partial(_source(request).reader.match_games, _requested(request).id)
    return await read_page(request, query, "games", read)


def _make_spec(wanted: EvalRequest, source: Source) -> EvaluationSpec:
    """Build the specification from the request and the run's settings. Raises Problem 422."""
    settings = source.settings.evaluation
    opponents = [*filter(None, [wanted.opponent]), *wanted.opponents]
    try:
        return EvaluationSpec(
            agents=tuple(map(_own, wanted.agents)),
            opponents=tuple(find_player(text, source.settings) for text in opponents),
            strategy=wanted.strategy,
            sprt=wanted.sprt,
            promote=wanted.promote,
            concurrency=settings.concurrency,
            **rules_in(source.settings) | wanted.given_rules(),
        )
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        raise Problem(422, f"{error}.", errors=[{"field": field, "message": message}]) from error


def _own(agent: str) -> str:
    """Return ``agent`` if it is the run's network. Raises ValueError."""
    if split_options(agent)[0] != CURRENT:
        raise ValueError(f"agents: {agent!r}: only current can be measured here, with any options")
    return agent


def _describe_opponents(spec: EvaluationSpec) -> str:
    if spec.strategy == "single":
        return f"against {spec.opponents[0]}"
    return f"in each match of the strategy {spec.strategy}"


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Problem(422, f"Idempotency-Key must have 1 to {MAX_KEY} characters, not {len(key)}.")
    return key


def _requested(request: Request) -> EvaluationRecord:
    """Return the evaluation that the path names. Raises Problem 404."""
    id: str = request.path_params["id"]
    record = _source(request).evaluation_records.get(id)
    if record is None:
        raise Problem(404, f"There is no evaluation {id!r}.")
    return record


def _source(request: Request) -> Source:
    source: Source = request.app.state.source
    return source


OPERATIONS = [evaluations, start, evaluation, cancel, events, games]
