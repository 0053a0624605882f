"""The OpenAPI document, made from the operations and the types of their answers."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter

from keisei.events import Event, Iteration
from keisei.server.operations import Operation
from keisei.server.problems import MEDIA_TYPE
from keisei.server.routes import package_version
from keisei.server.security import SAFE_METHODS

Version = Literal["3.1", "3.2"]
Schema = dict[str, Any]

NUMBERS = {"3.1": "3.1.2", "3.2": "3.2.0"}

NO_CONTENT = 204

ALL = {
    400: "The `Host` header is not in `server.allowed_hosts`, or the request is not HTTP.",
    401: "The server's token is missing or wrong: send `Authorization: Bearer TOKEN`.",
    414: "The path and the query together are too long.",
    422: "A query parameter or a field is wrong; `errors` names it.",
    431: "The headers together are too long.",
    500: "An error in the server. The server's log describes it.",
    503: "The server has no free connection, or a file of the run can't be read.",
}
"""Problems that the document lists for every operation."""

UNSAFE = {
    403: "The request comes from a page of another web site, or the server is read-only.",
    408: "The body of the request came too late.",
    413: "The body of the request is too long.",
    415: "The body of the request is not JSON.",
    429: "Too many requests that change something. Try again after `Retry-After` seconds.",
}
"""More problems that the document lists for every operation that changes something."""

PROBLEM: Schema = {
    "type": "object",
    "description": "Why the server refused a request (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "Description of the error, for people."},
        "instance": {"type": "string", "description": "Path of the request."},
        "errors": {
            "type": "array",
            "description": "The wrong fields of the request.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def make_document(operations: Iterable[Operation], version: Version) -> dict[str, Any]:
    """Return the document for these operations, without ``servers``.

    OpenAPI 3.1 has no ``itemSchema``, so a 3.1 document describes a stream only as text.
    """
    schemas: dict[str, Schema] = {"Problem": PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for item in operations:
        described = _operation(item, schemas, version)
        paths.setdefault(item.path, {})[item.method.lower()] = described
    return {
        "openapi": NUMBERS[version],
        "info": {
            "title": "Keisei",
            "version": package_version("keisei") or "0",
            "summary": "Watch and control a run that trains a shogi agent.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "security": [{}, {"token": []}],  # a setting decides whether a token is needed
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(item: Operation, schemas: dict[str, Schema], version: Version) -> dict[str, Any]:
    summary, _, description = markdown(inspect.getdoc(item.endpoint) or "").partition("\n")
    found: dict[str, Any] = {
        "operationId": operation_id(item),
        "summary": summary,
        "parameters": [*_path_parameters(item), *_query_parameters(item), *_headers(item)],
        "responses": _responses(item, schemas, version),
    }
    if description.strip():
        found["description"] = description.strip()
    if item.body is not None:
        schema = schema_of(item.body, schemas, request=True)
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return found


def operation_id(item: Operation) -> str:
    """Return a name such as ``get_api_games_id``."""
    words = item.path.replace("{", "").replace("}", "").replace(".", "/").split("/")
    return "_".join([item.method.lower(), *filter(None, words)])


def _path_parameters(item: Operation) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1}
    return [
        _parameter(name, "path", schema, text) | {"required": True}
        for name, text in (("id", item.id), ("number", item.number))
        if f"{{{name}}}" in item.path
    ]


def _query_parameters(item: Operation) -> list[dict[str, Any]]:
    found = []
    for name, field in tidy(item.query.model_json_schema()).get("properties", {}).items():
        text = field.pop("description", "")
        # A query string can't contain null, the second schema of ``anyOf``.
        schema = field["anyOf"][0] if "anyOf" in field else field
        one = _parameter(name, "query", schema, text)
        if schema["type"] == "array":  # separated by commas
            one |= {"style": "form", "explode": False}
        found.append(one)
    return found


def _headers(item: Operation) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1, "maxLength": 255}
    return [_parameter(name, "header", schema, text) for name, text in item.headers.items()]


def _parameter(name: str, place: str, schema: Schema, text: str) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": schema, "description": text}


def _responses(item: Operation, schemas: dict[str, Schema], version: Version) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Success."}
    if item.status != NO_CONTENT:
        good["content"] = _content(item, schemas, version)
    if item.sends:
        good["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in item.sends.items()
        }
    problems = ALL | ({} if item.method in SAFE_METHODS else UNSAFE)
    for status, reason in item.problems.items():
        both = [reason, problems[status]] if status in problems else [reason]
        problems = problems | {status: " ".join(both)}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {str(item.status): good} | {
        str(status): {"description": reason, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, reason in sorted(problems.items())
    }


def _content(item: Operation, schemas: dict[str, Schema], version: Version) -> dict[str, Any]:
    if item.answer is None:
        return {media: {"schema": {"type": "string"}} for media in (item.media, *item.other_media)}
    if not isinstance(item.answer, dict):
        return {item.media: {"schema": schema_of(item.answer, schemas)}}
    events = [_stream_item(name, schema_of(kind, schemas)) for name, kind in item.answer.items()]
    if version == "3.1":
        return {item.media: {"schema": {"type": "string"}}}
    return {item.media: {"itemSchema": {"oneOf": events}}}


def _stream_item(name: str, schema: Schema) -> Schema:
    """Return the schema of one server-sent event."""
    return {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"const": name},
            "id": {"type": "string"},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": schema,
            },
        },
    }


def schema_of(kind: Any, schemas: dict[str, Schema], *, request: bool = False) -> Schema:
    """Return the schema of a type. Add the schemas of named types to ``schemas``.

    ``request``: whether clients send the type. The schema of an event class has the
    keys that ``to_dict`` returns. Raises ValueError if another type has the same name.
    """
    found = _adapter(kind).json_schema(
        mode="validation" if request else "serialization",
        ref_template="#/components/schemas/{model}",
    )
    named = {name: tidy(schema) for name, schema in found.get("$defs", {}).items()}
    if isinstance(kind, type) and issubclass(kind, Event):
        _make_payload(kind, named[kind.__name__])
    for name, schema in named.items():
        if schemas.setdefault(name, schema) != schema:
            raise ValueError(f"two different types of the API have the name {name}: rename one")
    item: Schema = tidy(found["items"])
    return item


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the adapter of a list of this type.

    Pydantic accepts ``config`` for a list, but not for a dataclass. In the schema of an answer, all
    fields of a dataclass are required, even the fields with defaults.
    """
    complete = is_dataclass(kind)
    config = ConfigDict(
        use_attribute_docstrings=True, json_schema_serialization_defaults_required=complete
    )
    return TypeAdapter(list[kind], config=config)


def _make_payload(kind: type[Event], schema: Schema) -> None:
    """Change the schema of an event class so that it describes the result of ``to_dict``."""
    shown = {field.name for field in fields(kind) if field.repr}
    named = {name: item for name, item in schema["properties"].items() if name in shown}
    schema["properties"] = {
        "event": {"type": "string", "description": "Name of the event."},
        **named,
    }
    schema["required"] = list(schema["properties"])
    if kind is Iteration:
        named["values"]["additionalProperties"] = {"type": ["number", "null"]}
        schema["properties"]["nonfinite"] = {
            "type": "array",
            "items": {"type": "string"},
            "description": "Names of the metrics that are null because they are NaN or infinite.",
        }


def tidy(schema: Any) -> Any:
    """Return a schema with Markdown descriptions, but without the titles from pydantic."""
    if isinstance(schema, list):
        return [tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: tidy(item) for key, item in schema.items() if key not in {"title", "properties"}}
    if isinstance(text := schema.get("description"), str):
        found["description"] = markdown(text)
    if "properties" in schema:
        found["properties"] = {name: tidy(item) for name, item in schema["properties"].items()}
    return found


def markdown(text: str) -> str:
    """Return a docstring as Markdown, with ``null`` in place of ``None``."""
    return re.sub(r"\bNone\b", "null", inspect.cleandoc(text)).replace("``", "`")
