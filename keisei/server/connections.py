"""The connections of ``keisei serve``: how long each may take, and how many there may be.

Uvicorn by itself waits for ever for the rest of a request and takes connections until the process
has no file descriptor left, not even one for a checkpoint. In an application of somebody else's,
that application's server has to see to this.
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
"""A client gets so long to send the head of a request, and again so long to send its body."""

MOST = 2000
"""Connections at once, whatever the system allows."""


class Connections(ServerState):
    """The connections of one server, and which of them wait for their client."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = limit()
        self.waiting: dict[Connection, None] = {}
        """Idle ones and those with half a request; the longest waiting comes first."""

    def make_room(self) -> bool:
        """Close the longest waiting connection if there are too many. False if none waits."""
        if len(self.connections) <= self.limit:
            return True
        oldest = next(iter(self.waiting), None)
        if oldest:
            oldest.end()
        return oldest is not None

    def end(self) -> None:
        """Close all of them at once."""
        for connection in list(self.connections):
            connection.transport.abort()


def limit() -> int:
    """How many connections a server takes: half of the process's file descriptors are for them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, soft // 2)


class Connection(H11Protocol):
    """One connection. It is closed when its client takes too long to send a head or a body.

    An event stream lasts: it waits for nothing from its client.
    """

    server_state: Connections

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._owed: tuple[Any, Any] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, or refuse it if all others are at work."""
        super().connection_made(transport)
        if self.server_state.make_room():
            self._watch()
        else:
            self._refuse(503, f"All {self.server_state.limit} connections are in use.")

    def data_received(self, data: bytes) -> None:
        """A part of a request came."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """The next request may come."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self._rest()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's, but a problem document."""
        self._refuse(400, msg)

    def end(self) -> None:
        """Close it at once, with all that was not sent yet; its request ends without a word."""
        self._rest()
        self.connections.discard(self)
        self.transport.abort()

    def _watch(self) -> None:
        """Set a deadline when the client owes something new, and none when it owes nothing."""
        owed = self.cycle, self.conn.their_state
        if owed == self._owed:
            return
        self._owed = owed
        self._rest()
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._deadline = self.loop.call_later(SECONDS, self._late)
            self.server_state.waiting[self] = None

    def _rest(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self.server_state.waiting.pop(self, None)

    def _late(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:
            self._refuse(408, f"The body did not come within {SECONDS:.0f} seconds.")
        else:
            self.end()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer with a problem, unless an answer has begun, and close."""
        if self.cycle:
            self.cycle.disconnected = True  # the application's answer would be a second one
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            answer = problem_response(status, detail, headers=HEADERS)
            headers = [*answer.raw_headers, (b"connection", b"close")]
            start = h11.Response(status_code=status, headers=headers)
            for event in (start, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
