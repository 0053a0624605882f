"""A server on a real socket, and a client of its event stream."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette

from keisei.server.serve import address_of, bind, run_server

Event = tuple[str, str, dict[str, Any]]
"""Id, name and data of an event."""


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Serve the application; yield its address. Stop the server in order at the end."""
    stop = anyio.Event()
    with bind("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_server, app, sock, stop)
            yield address_of(sock)
            stop.set()


async def events(answer: httpx.Response) -> AsyncIterator[Event]:
    """Yield (id, name, data) of each event."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            yield fields.get("id", ""), fields["event"], json.loads(fields["data"])
            fields = {}


@asynccontextmanager
async def listening(
    url: str, query: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[AsyncIterator[Event]]:
    """Open a stream; yield its events."""
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream("GET", f"{url}api/events{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield events(answer)


async def take(found: AsyncIterator[Event], number: int) -> list[Event]:
    """Return the next ``number`` events."""
    with anyio.fail_after(10):
        return [await anext(found) for _ in range(number)]


async def until(true: Callable[[], bool]) -> None:
    """Wait until ``true`` returns True. For conditions that no event announces."""
    while not true():  # noqa: ASYNC110
        await anyio.sleep(0.02)
