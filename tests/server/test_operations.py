"""Declared operations: what is checked before an endpoint runs, and the routes."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from keisei.server.models import PageQuery, WaitQuery
from keisei.server.operations import operation, to_routes
from keisei.server.problems import on_http_exception

pytestmark = pytest.mark.anyio


@operation("GET", "/thing", query=PageQuery)
async def read(request: Request, query: PageQuery) -> Response:
    return PlainTextResponse(f"read {query.limit}")


@operation("PUT", "/thing", query=WaitQuery, body=PageQuery)
async def write(request: Request, query: WaitQuery, body: PageQuery) -> Response:
    return PlainTextResponse(f"wrote {query.wait:g} {body.limit}")


@operation("DELETE", "/thing")
async def delete(request: Request) -> Response:
    return PlainTextResponse("deleted")


@pytest.fixture
def thing() -> httpx.AsyncClient:
    app = Starlette(
        routes=to_routes([read, write, delete]), exception_handlers={422: on_http_exception}
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize(
    ("method", "query", "body", "answer"),
    [
        ("GET", "?limit=7", None, "read 7"),
        ("PUT", "?wait=2", {"limit": 5}, "wrote 2 5"),
        ("DELETE", "", None, "deleted"),
    ],
)
async def test_an_endpoint_gets_the_query_and_the_body(
    thing: httpx.AsyncClient, method: str, query: str, body: Any, answer: str
) -> None:
    assert (await thing.request(method, f"/thing{query}", json=body)).text == answer


@pytest.mark.parametrize(
    ("method", "query", "body", "said"),
    [
        ("GET", "?limit=0", None, "limit"),
        ("PUT", "?wait=99", {}, "wait"),
        ("PUT", "", {"limit": "x"}, "limit"),
        ("DELETE", "?limit=1", None, "takes no fields"),
    ],
)
async def test_an_undeclared_value_never_reaches_the_endpoint(
    thing: httpx.AsyncClient, method: str, query: str, body: Any, said: str
) -> None:
    answer = await thing.request(method, f"/thing{query}", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


async def test_a_wrong_method_is_told_all_methods_of_the_path(thing: httpx.AsyncClient) -> None:
    answer = await thing.post("/thing")
    assert answer.status_code == 405
    allowed = {method.strip() for method in answer.headers["allow"].split(",")}
    assert allowed == {"GET", "HEAD", "PUT", "DELETE"}
    assert (await thing.head("/thing")).status_code == 200
