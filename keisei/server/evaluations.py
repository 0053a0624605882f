"""``/api/eval``: matches of the current network, played beside training."""

from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from keisei.evaluation import MatchSpec
from keisei.server.answers import Json
from keisei.server.models import EvalRequest, NoQuery, WaitQuery, parse_body, parse_query
from keisei.server.problems import Problem
from keisei.server.source import Source

MAX_KEY = 255
"""Characters of an ``Idempotency-Key``."""


class Evaluations(HTTPEndpoint):
    """All evaluations."""

    async def get(self, request: Request) -> Response:
        """List them, newest first."""
        parse_query(NoQuery, request)
        return Json({"evaluations": _source(request).evaluations()})

    async def post(self, request: Request) -> Response:
        """Start one: 202 and where to follow it."""
        parse_query(NoQuery, request)
        wanted = await parse_body(EvalRequest, request)
        source = _source(request)
        spec = _spec(wanted, source)
        handle = await source.evaluate(spec, _key(request))
        here = f"{request.scope.get('root_path', '')}/api/eval/{handle.id}"
        body = {
            "id": handle.id,
            **(source.evaluation(handle.id) or {}),
            "message": f"{spec.games} games against {spec.opponent}, played beside training.",
            "follow": f"{here}?wait=30",
        }
        return Json(body, 202, {"Location": here, "Retry-After": "5"})


class Evaluation(HTTPEndpoint):
    """One evaluation."""

    async def get(self, request: Request) -> Response:
        """Its state and score; with ``wait=30`` after it has ended, or in 30 seconds."""
        query = parse_query(WaitQuery, request)
        found = _find(request)
        if query.wait:
            await _source(request).wait_evaluation(found["id"], query.wait)
            found = _find(request)
        return Json(found)

    async def delete(self, request: Request) -> Response:
        """Cancel it."""
        parse_query(NoQuery, request)
        found = _find(request)
        _source(request).cancel_evaluation(found["id"])
        return Json(_find(request), 202)


def _spec(wanted: EvalRequest, source: Source) -> MatchSpec:
    settings = source.settings
    return MatchSpec(
        opponent=wanted.opponent,
        games=wanted.games or settings.evaluation.games,
        greedy=wanted.greedy,
        seed=wanted.seed,
        max_ply=settings.evaluation.max_ply,
        declaration=settings.env.declaration,
        trained_max_ply=settings.env.max_ply,
    )


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Problem(422, f"Idempotency-Key must have 1 to {MAX_KEY} characters.")
    return key


def _find(request: Request) -> dict[str, Any]:
    id: str = request.path_params["id"]
    found = _source(request).evaluation(id)
    if found is None:
        raise Problem(404, f"There is no evaluation {id!r}.")
    return found


def _source(request: Request) -> Source:
    source: Source = request.app.state.source
    return source
