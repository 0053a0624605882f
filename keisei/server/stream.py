"""``/api/events``: the events of the run as server-sent events."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, get_args, get_type_hints

import anyio
import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keisei.events import (
    Alert,
    Board,
    Evaluation,
    Event,
    Failed,
    Game,
    Iteration,
    Log,
    Reset,
    Status,
)
from keisei.server.addresses import remote_address
from keisei.server.models import EventsQuery
from keisei.server.operations import operation
from keisei.server.problems import problem_response
from keisei.server.source import Source

PING_SECONDS = 15
"""Seconds between two comments. The comments keep a stream open when there are no events."""
SEND_SECONDS = 15.0
"""Seconds after which a client that reads nothing loses its stream.

``keisei serve`` disconnects such a client earlier, but other servers might not.
"""

RETRY = b"retry: 2000\r\n"
"""Line that tells a browser how many milliseconds to wait before it reconnects by itself.

The line is sent as part of the first event, because some clients would read a separate block as an
event without data.
"""

EVENTS: dict[str, type[Event]] = {
    **dict.fromkeys(get_args(get_type_hints(Status)["kind"]), Status),
    "failed": Failed,
    "reset": Reset,
    "iteration": Iteration,
    "board": Board,
    "game": Game,
    "evaluation": Evaluation,
    "alert": Alert,
    "log": Log,
}
"""Class of each event, by the event's name in the stream."""

FAREWELL_SECONDS = 1.0
"""Seconds in which a stream can send ``bye`` when the server stops before the run ends."""

_log = structlog.get_logger("keisei.server")


class Streams:
    """Counter of the open event streams, in total and for each address of another machine."""

    def __init__(self, limit: int, limit_per_address: int) -> None:
        self.limit = limit
        self.limit_per_address = limit_per_address
        self.open = 0
        self._per_address: Counter[str] = Counter()

    def refusal(self, address: str | None) -> str | None:
        """Return the reason to refuse a new stream, or None if the stream is allowed.

        ``address``: the result of ``remote_address``.
        """
        if self.open >= self.limit:
            return f"All {self.limit} event streams are in use. Try again later."
        if address and self._per_address[address] >= self.limit_per_address:
            return f"Your address already has {self.limit_per_address} event streams. Close one."
        return None

    @contextmanager
    def count(self, address: str | None) -> Iterator[None]:
        """Count one stream as open during the ``with`` block."""
        self.open += 1
        if address:
            self._per_address[address] += 1
        try:
            yield
        finally:
            self.open -= 1
            if address:
                self._per_address -= Counter([address])  # removes an address with 0 streams


class EventStream(EventSourceResponse):
    """The event stream of one client. ``streams`` counts the open streams of all clients."""

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
        """Send the stream, or status 503 if too many streams are open.

        Streams are counted here and not in the endpoint, because Starlette may never send the
        response that an endpoint returns.
        """
        address = remote_address(scope)
        if detail := self._streams.refusal(address):
            refusal = problem_response(503, detail, scope["path"], headers={"Retry-After": "5"})
            await refusal(scope, receive, send)
            return
        with self._streams.count(address):
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                _log.debug("stream_timeout", client=scope.get("client"), seconds=SEND_SECONDS)


@operation(
    "GET",
    "/api/events",
    media="text/event-stream",
    answer=EVENTS,
    query=EventsQuery,
    headers={"Last-Event-ID": "Id of the last event that the client received."},
    problems={503: "All event streams are in use."},
)
async def events(request: Request, query: EventsQuery) -> Response:
    """Stream the events of the topics in ``topics=``.

    If the request gives an event id, in the header ``Last-Event-ID`` or in ``after=``, the stream
    begins with the events after this id.
    """
    # A browser that reconnects by itself repeats its first URL, so only the header has the newest
    # id.
    after = request.headers.get("last-event-id") or query.after
    state = request.app.state
    ending = anyio.Event()

    async def dismiss() -> None:
        """When the server stops before the run ends, end all streams with ``bye``."""
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


OPERATIONS = [events]
