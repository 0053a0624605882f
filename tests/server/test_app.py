"""The whole application: no request may cause an error of the server."""

import json
import string
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from keisei.errors import InboxFull
from keisei.server.models import EvalRequest
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

LONG = "9" * 6000
NAMES = [
    "状" * 200,
    "b" * 256,
    "a\0b",
    "\udcff\ud800",
    "~" * 9000,
    "/" * 300 + "x",
    "x/" * 150 + "..",
]
ODD = st.one_of(
    st.sampled_from(
        [*NAMES, LONG, f"-{LONG}", f"1e{LONG}", "nan", "inf", "", " ", "٣", "²", "%", "["]
    ),
    st.integers(-(2**80), 2**80).map(str),
    st.text(st.characters(), max_size=30),  # lone surrogates too
    st.text(string.printable, max_size=30),
)
PATHS = [
    "/api/status", "/api/version", "/api/config", "/api/events", "/api/metrics", "/api/log",
    "/api/metrics/catalog", "/api/games", "/api/games/{}", "/api/checkpoints", "/api/control/pause",
    "/api/control/resume", "/api/control/checkpoint", "/api/eval", "/api/eval/{}",
    "/api/eval/{}/events", "/api/eval/{}/games", "/api/games/{}.kif",
    "/api/eval/{}/games/{}.usi", "/api/move", "/api/showcase", "/api/runs", "/api/runs/{}",
    "/api/ratings", "/healthz", "/readyz",
    "/", "/{}", "/board.js", "/api/{}", "//{}",
]  # fmt: skip
QUERIES = ["keys", "from", "to", "max_points", "after", "limit", "wait", "topics", "run"]
HEADERS = [
    "range", "if-range", "if-modified-since", "if-none-match", "last-event-id", "idempotency-key",
    "origin", "sec-fetch-site", "content-length", "content-type", "host", "accept-encoding",
]  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD, inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from([*EvalRequest.model_fields, "oponent"])


async def ask(
    app: Starlette,
    method: str = "GET",
    path: str = "/api/status",
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes | None = b"",
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, headers and body of an answer. With ``body=None`` the client leaves within it.

    No client library is used: it would refuse half of these requests.
    """
    sent = {"host": "localhost", "content-type": "application/json", **(headers or {})}
    if body and "content-length" not in sent:
        sent["content-length"] = str(len(body))
    scope = {
        "type": "http", "method": method, "path": path, "root_path": "", "scheme": "http",
        "query_string": query.encode("utf-8", "surrogatepass"), "client": ("127.0.0.1", 1),
        "headers": [(k.encode(), v.encode("latin-1", "replace")) for k, v in sent.items()],
        "server": ("localhost", 80), "http_version": "1.1", "extensions": {}, "asgi": {"version": "3.0"},
    }  # fmt: skip
    parts: list[dict[str, Any]] = [{"type": "http.request", "body": b"{", "more_body": True}]
    if body is not None:
        parts = [{"type": "http.request", "body": body}]
    answer: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answer.append(message)

    await app(scope, receive, send)  # raises if the application fails
    start, *rest = answer
    return start["status"], dict(start["headers"]), b"".join(part.get("body", b"") for part in rest)


def check(answer: tuple[int, dict[bytes, bytes], bytes], method: str) -> None:
    """Assert that the server made no error and that an error answer is a problem document."""
    status, headers, body = answer
    assert status < 500 or (status == 503 and b"retry-after" in headers), (status, body)
    if status >= 400:
        assert headers[b"content-type"] == b"application/problem+json"
        assert method == "HEAD" or json.loads(body)["status"] == status


@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS", "BREW"]),
    path=st.sampled_from(PATHS),
    part=ODD,
    query=st.dictionaries(st.sampled_from(QUERIES) | ODD, ODD, max_size=3),
    headers=st.dictionaries(st.sampled_from(HEADERS), ODD, max_size=3),
    body=st.none() | st.binary(max_size=40) | JSON,
)
@example("GET", "/api/games/{}", LONG, {}, {}, b"")
@example("GET", "/board.js", "", {}, {"range": f"bytes={LONG}-"}, b"")
@example("GET", "/board.js", "", {}, {"range": f"bytes=0-0,-{LONG}"}, b"")
@example("GET", "/board.js", "", {}, {"if-modified-since": f"Mon, {LONG} Jan {LONG}"}, b"")
@example("GET", "/api/nope", "", {}, {"host": "localhost:[x"}, b"")
@example("GET", "/{}", "y" * 256, {}, {}, b"")
async def test_no_request_causes_a_server_error(
    app: Starlette, method: str, path: str, part: str, query: Any, headers: Any, body: Any
) -> None:
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    check(await ask(app, method, path.replace("{}", part), asked, headers, content), method)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.dictionaries(FIELDS, JSON, max_size=3), named=st.sampled_from(NAMES))
async def test_no_body_of_an_evaluation_causes_a_server_error(
    app: Starlette, body: Any, named: str
) -> None:
    for wanted in (body, body | {"opponent": named}, body | {"opponents": ["random", named]}):
        check(await ask(app, "POST", "/api/eval", body=json.dumps(wanted).encode()), "POST")


@pytest.mark.parametrize("name", NAMES)
async def test_an_odd_name_of_an_opponent_is_answered_422(
    app: Starlette, run: FakeRun, name: str
) -> None:
    body = json.dumps({"opponent": name}).encode()
    status, _, _ = await ask(app, "POST", "/api/eval", body=body)
    assert status == 422
    assert run.evaluations() == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"opponent": "random", "seed": ' + LONG.encode() + b"}",
        b'{"opponent": "random", "sprt": [0, 1e' + LONG.encode() + b"]}",
        b'{"opponents": ' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}",
        b'{"opponent": "\xff\xfe"}',
        b'{"opponent": "\xed\xa0\x80"}',
        "{}".encode("utf-16"),
        json.dumps({f"field{n}": 0 for n in range(4000)}).encode(),
    ],
)
async def test_bad_bodies_get_short_answers(app: Starlette, body: bytes) -> None:
    status, _, answer = await ask(app, "POST", "/api/eval", body=body)
    assert status == 422
    assert len(json.loads(answer)["errors"]) <= 20
    assert len(answer) < 5000


async def test_a_body_that_is_too_long_is_refused(app: Starlette) -> None:
    status, _, _ = await ask(app, "POST", "/api/eval", body=b" " * 70_000)
    assert status == 413
    headers = {"content-length": LONG}
    assert (await ask(app, "POST", "/api/eval", headers=headers, body=b" " * 70_000))[0] == 413


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/eval"), ("GET", "/api/games"), ("DELETE", "/api/eval/x")]
)
async def test_a_client_that_disconnects_within_its_body_causes_no_error(
    app: Starlette, run: FakeRun, method: str, path: str
) -> None:
    status, _, _ = await ask(app, method, path, headers={"content-length": "100"}, body=None)
    assert status < 500
    assert run.evaluations() == []


async def test_a_full_inbox_is_answered_503_with_a_time_to_retry(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(kind: str) -> None:
        raise InboxFull("eight commands wait")

    monkeypatch.setattr(run, "submit", full)
    answer = await client.post("/api/control/pause")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "eight commands wait" in answer.json()["detail"]


async def test_the_page_is_served_and_revalidated(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    assert "Keisei" in page.text
    assert page.headers["cache-control"] == "no-cache"
    again = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    for path in ("/../pyproject.toml", "/%2e%2e/pyproject.toml", "//etc/passwd"):
        assert (await client.get(path)).status_code == 404
