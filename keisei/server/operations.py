"""Operations: the requests that the API accepts, each declared at its endpoint."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keisei.server.models import NoQuery, parse_body, parse_query

Endpoint = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, eq=False)
class Operation:
    """One method of one path. The OpenAPI document and the route are made from this declaration.

    Before the endpoint is called, the query string and the body are checked against their models.
    An operation without a query model accepts no query parameters.
    """

    method: str
    path: str
    endpoint: Endpoint
    """Function that gets the request, then the query and the body if they have models.

    The first line of its docstring is the summary in the OpenAPI document; the other lines are the
    description."""
    answer: Any = None
    """Type of the JSON answer; for a stream, a dict with the type of each event's data. None: the
    answer is not JSON."""
    status: int = 200
    media: str = "application/json"
    other_media: tuple[str, ...] = ()
    """Other media types of a text answer. A request can choose one with its header ``Accept``."""
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    id: str = ""
    """Meaning of ``{id}`` in the path."""
    number: str = ""
    """Meaning of ``{number}`` in the path."""
    headers: dict[str, str] = field(default_factory=dict)
    """Request headers that the endpoint reads, with their meanings."""
    sends: dict[str, str] = field(default_factory=dict)
    """Headers of the answer, with their meanings."""
    problems: dict[int, str] = field(default_factory=dict)
    """Error answers that only some operations have: their status codes and reasons."""

    async def __call__(self, request: Request) -> Response:
        """Check the query and the body, then call the endpoint. Raises Problem 422."""
        query = parse_query(self.query, request)
        arguments: list[Any] = [] if self.query is NoQuery else [query]
        if self.body is not None:
            arguments.append(await parse_body(self.body, request))
        return await self.endpoint(request, *arguments)


def operation(method: str, path: str, **contract: Any) -> Callable[[Endpoint], Operation]:
    """Turn an endpoint into an ``Operation``. ``contract``: more fields of ``Operation``."""
    return lambda endpoint: Operation(method, path, endpoint, **contract)


def to_routes(operations: Iterable[Operation]) -> list[Route]:
    """Return one route for each path. A request with a wrong method gets 405.

    Starlette also accepts one route for each method, but then its 405 names only one method.
    """
    paths: dict[str, dict[str, Operation]] = {}
    for item in operations:
        paths.setdefault(item.path, {})[item.method] = item
    return [Route(path, _choose(found), methods=list(found)) for path, found in paths.items()]


def _choose(operations: dict[str, Operation]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await operations[method](request)

    return endpoint
