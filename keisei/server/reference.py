"""``/openapi.json``, and ``/api/reference``: the same document as a page for people."""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from keisei.server.answers import Json, address, in_thread
from keisei.server.models import MAX_ID, VersionQuery
from keisei.server.openapi import Schema, Version, make_document
from keisei.server.operations import Operation, operation
from keisei.server.problems import MEDIA_TYPE

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Keisei: HTTP API</title>
<link rel="stylesheet" href="../style.css">
<link rel="stylesheet" href="../reference.css">
</head>
<body class="reference">
<h1>Keisei: HTTP API</h1>
<p>This page is made from <a href="../openapi.json">openapi.json</a> (OpenAPI 3.2; <a
href="../openapi.json?version=3.1">3.1</a> for older tools). Errors are problem documents, see <a
href="#Problem">Problem</a>.</p>
"""


@operation("GET", "/openapi.json", query=VersionQuery, answer=dict[str, Any])
async def openapi(request: Request, query: VersionQuery) -> Response:
    """Return this document: all operations of the API and the types of their answers."""
    operations = request.app.state.operations
    root = address(request, "") or "/"
    return await in_thread(request, _encode, operations, query.version, root)


@operation("GET", "/api/reference", media="text/html")
async def reference(request: Request) -> Response:
    """Return the reference of the API as a page for people."""
    page = await in_thread(request, _make_page, request.app.state.operations)
    return HTMLResponse(page, headers={"Cache-Control": "no-cache"})


OPERATIONS = [openapi, reference]


@lru_cache(maxsize=8)
def _encode(operations: tuple[Operation, ...], version: Version, root: str) -> Response:
    document = make_document(operations, version)
    return Json({"openapi": document.pop("openapi"), "servers": [{"url": root}], **document})


@lru_cache(maxsize=2)
def _make_page(operations: tuple[Operation, ...]) -> str:
    document = make_document(operations, "3.2")
    parts = [HEAD, "<nav><ul>"]
    found = [
        (method, path, item)
        for path, methods in document["paths"].items()
        for method, item in methods.items()
    ]
    parts += [
        f'<li><a href="#{item["operationId"]}">{_name(method, path)}</a></li>'
        for method, path, item in found
    ]
    parts.append("</ul></nav>\n<main>\n")
    parts += [part for method, path, item in found for part in _operation(method, path, item)]
    parts.append("<h2>Types</h2>\n")
    for name, schema in document["components"]["schemas"].items():
        parts.append(f'<section id="{name}"><h3>{name}</h3>{_text(schema.get("description", ""))}')
        parts += [*_fields(schema), "</section>\n"]
    return "".join([*parts, "</main>\n</body>\n</html>\n"])


def _name(method: str, path: str) -> str:
    return f'<code><b class="{method}">{method.upper()}</b> {escape(path)}</code>'


def _operation(method: str, path: str, item: dict[str, Any]) -> Iterator[str]:
    yield f'<section id="{item["operationId"]}"><h2>{_name(method, path)}</h2>'
    yield _text(item["summary"]) + _text(item.get("description", ""))
    if item["parameters"]:
        rows = [
            (
                f"<code>{escape(one['name'])}</code>",
                one["in"],
                _kind(one["schema"]),
                one["description"],
            )
            for one in item["parameters"]
        ]
        yield _table(("parameter", "in", "type", "meaning"), rows)
    if body := item.get("requestBody"):
        yield f"<p>Body: {_kind(body['content']['application/json']['schema'])}</p>"
    rows = [
        (f"<code>{status}</code>", "", _answer(answer.get("content", {})), answer["description"])
        for status, answer in item["responses"].items()
    ]
    yield _table(("status", "", "answer", "meaning"), rows)
    yield "</section>\n"


def _answer(content: dict[str, Any]) -> str:
    """Return the type of an answer. The type of every error is ``Problem``."""
    if not content:
        return "empty"
    (media, body) = next(iter(content.items()))
    if media == MEDIA_TYPE:
        return _kind(body["schema"])
    if "itemSchema" not in body:
        return _kind(body["schema"]) if media == "application/json" else escape(media)
    events = [one["properties"] for one in body["itemSchema"]["oneOf"]]
    return "events: " + ", ".join(
        f"<code>{one['event']['const']}</code> {_kind(one['data']['contentSchema'])}"
        for one in events
    )


def _fields(schema: Schema) -> Iterator[str]:
    properties = schema.get("properties", {})
    if not properties:
        yield f"<p>{_kind(schema)}</p>"
        return
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(name)}</code>",
            "" if name in required else "optional",
            _kind(one),
            one.get("description", ""),
        )
        for name, one in properties.items()
    ]
    yield _table(("field", "", "type", "meaning"), rows)


def _table(heads: tuple[str, ...], rows: list[tuple[str, str, str, str]]) -> str:
    """Return a table. The last cell of a row is Markdown; the other cells are HTML."""
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(
        f"<tr><td>{first}</td><td>{second}</td><td>{third}</td><td>{_inline(text)}</td></tr>"
        for first, second, third, text in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _kind(schema: Schema) -> str:
    """Return the type that a schema describes, as HTML in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_kind(one) for one in schema[key])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array" and "prefixItems" in schema:
        return f"[{', '.join(_kind(one) for one in schema['prefixItems'])}]"
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if isinstance(inner := schema.get("additionalProperties"), dict):
        return f"object of {_kind(inner)}"
    names = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return names + _bounds(schema)


def _bounds(schema: Schema) -> str:
    words = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "to {}",
        "exclusiveMaximum": "below {}",
        "maxLength": "at most {} characters",
    }
    found = [
        text.format(schema[key]) for key, text in words.items() if schema.get(key, MAX_ID) != MAX_ID
    ]
    if schema.get("default") is not None:
        found.append(f"default {escape(json.dumps(schema['default']))}")
    return f" <small>({', '.join(found)})</small>" if found else ""


def _text(text: str) -> str:
    """Return paragraphs of Markdown as HTML."""
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    """Return Markdown with inline code as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
