"""The OpenAPI document says what the server does."""

import json
from typing import Any

import anyio
import httpx
import pytest
from contract import DOCUMENT, check_answer, validate
from jsonschema_rs import ValidationError
from pydantic import BaseModel, create_model
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR, OPENAPI_32_VALIDATOR
from starlette.applications import Starlette
from starlette.routing import Route
from stream_client import listening, served, take

from keisei.server import openapi
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("version", "validator"),
    [("3.2", OPENAPI_32_VALIDATOR), ("3.1", OPENAPI_31_VALIDATOR)],
)
async def test_the_document_is_valid_openapi(
    client: httpx.AsyncClient, version: str, validator: Any
) -> None:
    document = (await client.get(f"/openapi.json?version={version}")).json()
    assert document["openapi"].startswith(f"{version}.")
    validator.validate(document)


async def test_the_newest_version_is_the_default_and_others_are_refused(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.2.")
    assert (await client.get("/openapi.json?version=2.0")).status_code == 422


async def test_routes_and_document_agree(app: Starlette) -> None:
    routes = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    documented = {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert routes == documented


def test_every_reference_leads_to_a_schema_and_every_schema_is_used() -> None:
    text = json.dumps(DOCUMENT)
    used = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert used == DOCUMENT["components"]["schemas"].keys()


def test_every_operation_has_a_name_of_its_own_and_a_summary() -> None:
    found = [item for methods in DOCUMENT["paths"].values() for item in methods.values()]
    assert len({item["operationId"] for item in found}) == len(found)
    for item in found:
        assert item["summary"].endswith("."), item
        assert all(one["description"] for one in item["parameters"]), item


def test_descriptions_are_markdown_in_the_words_of_json() -> None:
    assert (
        openapi.markdown("``state``; None before\n    the start")
        == "`state`; null before\nthe start"
    )
    assert "``" not in json.dumps(DOCUMENT)


def test_two_types_of_the_same_name_are_refused() -> None:
    def answer(kind: type) -> type[BaseModel]:
        return create_model("Answer", value=(kind, ...))

    number, schemas = answer(int), dict[str, Any]()
    openapi.schema_of(number, schemas)
    openapi.schema_of(number, schemas)
    with pytest.raises(ValueError, match="two different types of the API have the name Answer"):
        openapi.schema_of(answer(str), schemas)


async def test_events_of_the_stream_fit_their_schemas(app: Starlette, run: FakeRun) -> None:
    stream = DOCUMENT["paths"]["/api/events"]["get"]["responses"]["200"]["content"]
    kinds = {
        one["properties"]["event"]["const"]: one["properties"]["data"]["contentSchema"]
        for one in stream["text/event-stream"]["itemSchema"]["oneOf"]
    }
    async with served(app) as url, listening(url, "?after=old-1") as found:
        seen = set()
        with anyio.fail_after(10):
            while not {"reset", "iteration", "board", "evaluation", "failed"} <= seen:
                [(_, name, data)] = await take(found, 1)
                validate(kinds[name], data)
                seen.add(name)
                if name == "board" and "evaluation" not in seen:
                    body = {"opponent": "random", "games": 2}
                    async with httpx.AsyncClient() as other:
                        await other.post(f"{url}api/eval", json=body)
                if name == "evaluation":
                    run.fail("out of luck")


async def test_events_of_an_evaluation_fit_their_schema(client: httpx.AsyncClient) -> None:
    started = await client.post("/api/eval", json={"opponent": "random", "games": 4})
    answer = await client.get(f"{started.headers['location']}/events")
    data = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert data
    for item in data:
        validate({"$ref": "#/components/schemas/EvaluationFields"}, json.loads(item))


@pytest.mark.parametrize(
    ("status", "media", "body"),
    [
        (200, "application/json", b'{"status": "ok", "secret": 1}'),
        (200, "application/json", b"{}"),
        (418, "application/json", b'{"status": "ok"}'),
        (200, "text/plain", b"ok"),
    ],
)
def test_the_check_of_answers_finds_what_is_not_in_the_contract(
    status: int, media: str, body: bytes
) -> None:
    check_answer("GET", "/healthz", 200, "application/json", b'{"status": "ok"}')
    with pytest.raises((AssertionError, ValidationError)):
        check_answer("GET", "/healthz", status, media, body)
