"""``/api/events``: the run's events as server-sent events."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from keisei.server.models import EventsQuery, parse_query
from keisei.server.problems import problem_response
from keisei.server.source import Source

PING_SECONDS = 15
SEND_SECONDS = 15.0
"""A client that takes nothing for so long is dropped."""

RETRY = b"retry: 2000\r\n"
"""Milliseconds after which a browser reconnects by itself. A line of the first event: some clients
take one that stands alone for an event without data."""

FAREWELL_SECONDS = 1.0
"""How long ``bye`` may take when the server ends and not the run."""

_log = structlog.get_logger("keisei.server")


class Streams:
    """Counts the streams that are open, up to ``limit``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0

    @property
    def full(self) -> bool:
        """Whether no more are served."""
        return self.open >= self.limit


class EventStream(EventSourceResponse):
    """One client's stream. Holds one of ``streams`` for as long as it lasts."""

    def __init__(self, frames: AsyncIterator[bytes], streams: Streams, **more: Any) -> None:
        """``more``: what else ``EventSourceResponse`` is told."""
        super().__init__(
            frames,
            ping=PING_SECONDS,
            ping_message_factory=lambda: ServerSentEvent(comment="ping"),
            send_timeout=SEND_SECONDS,
            **more,
        )
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Counted here and not in the endpoint, whose answer might never be sent."""
        if self._streams.full:
            detail = f"All {self._streams.limit} event streams are taken. Try again in a while."
            refusal = problem_response(503, detail, scope["path"], headers={"Retry-After": "5"})
            await refusal(scope, receive, send)
            return
        self._streams.open += 1
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            _log.warning("stream_timeout", client=scope.get("client"), seconds=SEND_SECONDS)
        finally:
            self._streams.open -= 1


async def events(request: Request) -> Response:
    """Stream events of ``topics=`` from the one after ``Last-Event-ID`` or ``after=``."""
    query = parse_query(EventsQuery, request)
    # A browser reconnecting by itself keeps its first URL; only the header knows where it was.
    after = request.headers.get("last-event-id") or query.after
    state = request.app.state
    ending = anyio.Event()

    async def dismiss() -> None:
        """A host's server ends before the run in it: say ``bye`` while there is a connection."""
        await ending.wait()
        state.source.dismiss()

    return EventStream(
        _frames(state.source, query, after),
        state.streams,
        data_sender_callable=dismiss,
        shutdown_event=ending,
        shutdown_grace_period=FAREWELL_SECONDS,
    )


async def _frames(source: Source, query: EventsQuery, after: str | None) -> AsyncIterator[bytes]:
    async with source.subscribe(query.topics, after) as frames:
        start = RETRY
        async for frame in frames:
            yield start + frame
            start = b""


ROUTES = [Route("/api/events", events)]
