"""Checks answers against the OpenAPI document."""

import json
import re
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from keisei.server.app import OPERATIONS
from keisei.server.openapi import make_document

DOCUMENT = make_document(OPERATIONS, "3.2")


def close(schema: Any) -> Any:
    """Refuse fields that a schema does not name, so that no answer has an undocumented field."""
    if isinstance(schema, list):
        return [close(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close(item) for key, item in schema.items()}
    return {"additionalProperties": False, **closed} if "properties" in schema else closed


@cache
def validator(schema: str) -> Any:
    """The validator of a schema, given as JSON."""
    components = {"schemas": close(DOCUMENT["components"]["schemas"])}
    return jsonschema_rs.validator_for({**json.loads(schema), "components": components})


def validate(schema: dict[str, Any], value: Any) -> None:
    """Fail if the value does not fit the schema."""
    validator(json.dumps(schema)).validate(value)


def declared(method: str, path: str) -> dict[str, Any] | None:
    """The document's operation for a request, or None if there is none."""
    method = "get" if method == "HEAD" else method.lower()
    found = [
        (template.count("{"), methods[method])
        for template, methods in DOCUMENT["paths"].items()
        if method in methods and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    ]
    return min(found, key=lambda item: item[0])[1] if found else None


def check_answer(method: str, path: str, status: int, media: str, body: bytes) -> None:
    """Fail if an answer's status, type, or JSON is not in the contract."""
    operation = declared(method, path)
    if operation is None:
        return
    assert str(status) in operation["responses"], f"{method} {path}: {status} is not declared"
    content = operation["responses"][str(status)].get("content", {})
    if not content:
        assert not body
        return
    media = media.partition(";")[0]
    assert media in content, f"{method} {path}: {status} with {media} is not declared"
    if media.endswith("json") and method != "HEAD":
        validate(content[media]["schema"], json.loads(body))


async def check_response(response: httpx.Response) -> None:
    """Check an answer of httpx; a hook of a client. A stream has no end, so only its head."""
    request = response.request
    media = response.headers.get("content-type", "")
    body = b"" if media.startswith("text/event-stream") else await response.aread()
    check_answer(request.method, request.url.path, response.status_code, media, body)
