"""The routes below ``/api/eval``: start, list, follow and cancel evaluations."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import anyio
from sse_starlette import ServerSentEvent
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keisei.evaluation.spec import BEST, CURRENT, ENGINE, LOCAL, EvaluationSpec, rules_in
from keisei.events import dumps
from keisei.hint import did_you_mean
from keisei.runtime.evaluation_records import EvaluationRecord
from keisei.server.answers import Json, in_thread
from keisei.server.models import (
    EvalRequest,
    NoQuery,
    PageQuery,
    WaitQuery,
    parse_body,
    parse_query,
)
from keisei.server.problems import Problem
from keisei.server.source import Source
from keisei.server.stream import EventStream

TICK = 0.25
"""Minimum time between two events of a stream, in seconds."""
MAX_KEY = 255
"""Maximum number of characters of an ``Idempotency-Key``."""


class EvaluationList(HTTPEndpoint):
    """``/api/eval``: all evaluations."""

    async def get(self, request: Request) -> Response:
        """List the evaluations, newest first."""
        parse_query(NoQuery, request)
        found = {"evaluations": _source(request).evaluation_records.list()}
        return await in_thread(request, Json, found)

    async def post(self, request: Request) -> Response:
        """Start an evaluation. Answer 202 with the address of the new evaluation."""
        parse_query(NoQuery, request)
        wanted = await parse_body(EvalRequest, request)
        source = _source(request)
        spec = await in_thread(request, _make_spec, wanted, source)  # reads the disk
        handle = await source.evaluate(spec, _idempotency_key(request))
        here = f"{request.scope.get('root_path', '')}/api/eval/{handle.id}"
        record = source.evaluation_records.get(handle.id)
        body = {
            "id": handle.id,
            **(record.fields if record else {}),
            "message": f"{spec.games} games {_describe_opponents(spec)}, played beside training.",
            "follow": f"{here}?wait=30",
        }
        return Json(body, 202, {"Location": here, "Retry-After": "5"})


class EvaluationReply(HTTPEndpoint):
    """``/api/eval/{id}``: one evaluation."""

    async def get(self, request: Request) -> Response:
        """Return the evaluation; with ``wait=30``, after its end or after 30 seconds."""
        query = parse_query(WaitQuery, request)
        record = _requested(request)
        with anyio.move_on_after(query.wait):
            await record.done.wait()
        return Json(record.fields)

    async def delete(self, request: Request) -> Response:
        """Cancel the evaluation."""
        parse_query(NoQuery, request)
        record = _requested(request)
        record.cancel()
        return Json(record.fields, 202)


async def events(request: Request) -> Response:
    """Stream the evaluation's fields, now and after each change, until the evaluation ends."""
    parse_query(NoQuery, request)
    changes = _requested(request).follow()
    return EventStream(_frames(changes), request.app.state.streams)


async def _frames(changes: AsyncGenerator[dict[str, Any], None]) -> AsyncIterator[bytes]:
    async with aclosing(changes):
        async for found in changes:
            yield ServerSentEvent(dumps(found), event="evaluation").encode()
            await anyio.sleep(TICK)


async def games(request: Request) -> Response:
    """Return a page of the evaluation's games so far, newest first, without their moves."""
    query, id = parse_query(PageQuery, request), _requested(request).id
    read = partial(_source(request).reader.match_games, id, **query.model_dump())
    return await in_thread(request, lambda: Json({"games": read()}))


def _make_spec(wanted: EvalRequest, source: Source) -> EvaluationSpec:
    """Build the specification from the request and the run's settings. Raises Problem 422."""
    settings = source.settings.evaluation
    opponents = [*filter(None, [wanted.opponent]), *wanted.opponents]
    try:
        return EvaluationSpec(
            opponents=tuple(_find_opponent(text, settings.engines) for text in opponents),
            strategy=wanted.strategy,
            sprt=wanted.sprt,
            promote=wanted.promote,
            concurrency=settings.concurrency,
            **rules_in(source.settings) | wanted.given_rules(),
        )
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        raise Problem(422, f"{error}.", errors=[{"field": field, "message": message}]) from error


def _describe_opponents(spec: EvaluationSpec) -> str:
    if spec.strategy == "single":
        return f"against {spec.opponents[0]}"
    return f"a match, by the strategy {spec.strategy}"


def _find_opponent(text: str, engines: Mapping[str, str]) -> str:
    """Return the player specification that ``text`` names. Raises ValueError for unknown names.

    A request can name an engine of the settings. A request cannot describe an engine, because the
    command line in a description would let a client run any program.
    """
    if text in (*LOCAL, CURRENT, BEST):
        return text
    if text in engines:
        return engines[text]
    if not text.startswith(ENGINE) and os.path.isdir(text):  # noqa: PTH112 (Path.is_dir may raise)
        return text
    hint = did_you_mean(text, [*LOCAL, CURRENT, BEST, *engines]) or "."
    raise ValueError(
        f"opponent: {text!r} is unknown{hint} "
        f"Use {', '.join([*LOCAL, CURRENT, BEST])}, the folder of a run or checkpoint, or the name "
        f"of an engine in the setting evaluation.engines (now: {', '.join(engines) or 'none'})"
    )


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


ROUTES = [
    Route("/api/eval", EvaluationList),
    Route("/api/eval/{id}", EvaluationReply),
    Route("/api/eval/{id}/events", events),
    Route("/api/eval/{id}/games", games),
]
