"""Limits of ``keisei serve``: the number of connections, and the time to send a request.

Without these limits, uvicorn would wait forever for the rest of a request. It would also accept
connections until the process has no file descriptor left to write a checkpoint. The limits apply
only to ``keisei serve``. An application that mounts ``create_app`` needs limits in its own server.
"""

import asyncio
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from keisei.server.problems import problem_response
from keisei.server.security import HEADERS

SECONDS = 10.0
"""Seconds that a client has to send the head of a request. The same limit applies to the body."""

MOST = 2000
"""Maximum number of open connections, even if the system allows more."""


class Connections(ServerState):
    """The open connections of one server, and the connections that wait for their client."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = limit()
        self.waiting: dict[Connection, None] = {}
        """Connections that are idle or have an incomplete request, longest waiting first."""

    def make_room(self) -> bool:
        """Make room for a new connection if there are too many connections.

        Closes the connection that has waited longest for its client. Returns False if there are too
        many connections and no connection waits for its client.
        """
        if len(self.connections) <= self.limit:
            return True
        oldest = next(iter(self.waiting), None)
        if oldest:
            oldest.end()
        return oldest is not None

    def end(self) -> None:
        """Close all connections at once."""
        for connection in list(self.connections):
            connection.transport.abort()


def limit() -> int:
    """Return the maximum number of connections: half of the file descriptors, up to ``MOST``."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, soft // 2)


class Connection(H11Protocol):
    """One connection, which is closed if its client takes too long to send a head or a body.

    An event stream has no deadline, because its client has nothing more to send.
    """

    server_state: Connections

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._owed: tuple[Any, Any] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or answer 503 if there is no room for it."""
        super().connection_made(transport)
        if self.server_state.make_room():
            self._update_deadline()
        else:
            self._refuse(
                503, f"All {self.server_state.limit} connections are in use. Try again later."
            )

    def data_received(self, data: bytes) -> None:
        """Read a part of a request and set the deadline for the next part."""
        super().data_received(data)
        self._update_deadline()

    def on_response_complete(self) -> None:
        """Set the deadline for the next request."""
        super().on_response_complete()
        self._update_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline, because the client or the server has closed the connection."""
        self._stop_watching()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer 400 with a problem document instead of uvicorn's plain text."""
        self._refuse(400, msg)

    def end(self) -> None:
        """Close the connection at once, even if a request in progress has no answer yet."""
        self._stop_watching()
        self.connections.discard(self)
        self.transport.abort()

    def _update_deadline(self) -> None:
        """Set a new deadline if the client must now send a head or a body; otherwise set none."""
        owed = self.cycle, self.conn.their_state
        if owed == self._owed:
            return
        self._owed = owed
        self._stop_watching()
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._deadline = self.loop.call_later(SECONDS, self._on_deadline)
            self.server_state.waiting[self] = None

    def _stop_watching(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self.server_state.waiting.pop(self, None)

    def _on_deadline(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:
            self._refuse(408, f"The body did not come within {SECONDS:.0f} seconds.")
        else:
            self.end()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer with a problem document, unless another answer has begun; close the connection."""
        if self.cycle:
            self.cycle.disconnected = True  # the application's answer to this request is discarded
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            answer = problem_response(status, detail, headers=HEADERS)
            headers = [*answer.raw_headers, (b"connection", b"close")]
            start = h11.Response(status_code=status, headers=headers)
            for event in (start, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
