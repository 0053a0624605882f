"""``/api/events``: the events of the run as server-sent events."""

from collections.abc import AsyncIterator
from contextlib import aclosing
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
"""Seconds between two comments, which keep a stream open while there are no events."""
SEND_SECONDS = 15.0
"""Seconds after which a client that reads nothing is disconnected."""

RETRY = b"retry: 2000\r\n"
"""Line that sets the milliseconds after which a browser reconnects by itself.

The line is sent as part of the first event, because some clients would read a separate block as an
event without data.
"""

FAREWELL_SECONDS = 1.0
"""Seconds that a stream has to send ``bye`` when the server stops while the run continues."""

_log = structlog.get_logger("keisei.server")


class Streams:
    """The number of open event streams, and the maximum of this number."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0

    @property
    def full(self) -> bool:
        """Whether the limit is reached, so that a new stream is refused."""
        return self.open >= self.limit


class EventStream(EventSourceResponse):
    """The stream of one client. While it is open, ``streams`` counts it."""

    def __init__(self, frames: AsyncIterator[bytes], streams: Streams, **more: Any) -> None:
        """``more``: additional arguments for ``EventSourceResponse``."""
        super().__init__(
            frames,
            ping=PING_SECONDS,
            ping_message_factory=lambda: ServerSentEvent(comment="ping"),
            send_timeout=SEND_SECONDS,
            **more,
        )
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, or 503 if the limit is reached.

        Streams are counted here and not in the endpoint, because Starlette may never send the
        response that an endpoint returns.
        """
        if self._streams.full:
            detail = f"All {self._streams.limit} event streams are in use. Try again later."
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
    """Stream the events after the id that the request gives, for the topics in ``topics=``.

    The id is in the header ``Last-Event-ID`` or in ``after=``.
    """
    query = parse_query(EventsQuery, request)
    # A browser that reconnects by itself repeats its first URL, so only the header has the newest
    # id.
    after = request.headers.get("last-event-id") or query.after
    state = request.app.state
    ending = anyio.Event()

    async def dismiss() -> None:
        """End the streams with ``bye`` when the server stops; the run ends later."""
        await ending.wait()
        state.source.hub.dismiss()

    return EventStream(
        _frames(state.source, query, after),
        state.streams,
        data_sender_callable=dismiss,
        shutdown_event=ending,
        shutdown_grace_period=FAREWELL_SECONDS,
    )


async def _frames(source: Source, query: EventsQuery, after: str | None) -> AsyncIterator[bytes]:
    with source.hub.subscribe(query.topics, after) as chunks:
        async with aclosing(chunks):
            start = RETRY
            async for chunk in chunks:
                yield start + chunk
                start = b""


ROUTES = [Route("/api/events", events)]
