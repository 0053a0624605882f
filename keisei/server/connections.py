"""Limits of ``keisei serve``: the number of connections, and the time that a client may take.

Without these limits, uvicorn would wait forever for a client that sends or reads too slowly. It
would also accept connections until the process has no file descriptor left to write a checkpoint.
The limits apply only to ``keisei serve``. An application that mounts ``create_app`` needs limits in
its own server.
"""

import asyncio
import logging
import resource
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from keisei.server.limits import OnlyHealth, headers_too_long, url_too_long
from keisei.server.problems import problem_response
from keisei.server.security import HEADERS

SECONDS = 10.0
"""Seconds that a client has to send the head of a request. The same limit applies to the body.

It also applies to an idle connection, and to the reading of each piece of an answer.
"""

MOST = 2000
"""Largest value that ``limit`` returns, even if the system allows more connections."""

RESERVED = 16
"""Number of additional connections for health checks."""

_log = logging.getLogger("uvicorn.error.connection")
_log.setLevel(logging.ERROR)  # uvicorn warns of every faulty request, so clients could fill the log


class Pool:
    """Connections of one kind. ``limit`` is the maximum number of connections."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.members: set[Connection] = set()
        self.waiting: dict[Connection, None] = {}
        """Idle connections and those with an incomplete request, longest waiting time first."""

    def add(self, connection: "Connection") -> bool:
        """Add a connection. Return False if the pool is full and ``waiting`` is empty.

        To make room in a full pool, this method closes the connection that has waited longest.
        """
        if len(self.members) >= self.limit:
            oldest = next(iter(self.waiting), None)
            if not oldest:
                return False
            oldest.end()
        self.members.add(connection)
        return True

    def remove(self, connection: "Connection") -> None:
        """Forget a connection."""
        self.members.discard(connection)
        self.waiting.pop(connection, None)


class Connections(ServerState):
    """The open connections of one server."""

    def __init__(self) -> None:
        super().__init__()
        self.common = Pool(limit())
        self.reserved = Pool(RESERVED)
        """Connections over the limit. The server answers only their health checks."""

    def end(self) -> None:
        """Close all connections at once."""
        for connection in list(self.connections):
            connection.transport.abort()


def limit() -> int:
    """Return the maximum number of connections, without the ``RESERVED`` connections.

    This number is half of the process's limit of open files, but at most ``MOST``.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, soft // 2)


class Connection(H11Protocol):
    """One connection, which is closed if its client takes too long.

    The client must send each head and each body in time, and must read each answer in time. An
    event stream has no deadline while its client reads, because the client has nothing to send.
    """

    server_state: Connections

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.logger = _log
        self._pool = self.server_state.common
        self._owed: tuple[Any, ...] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Add the connection to a pool. In the pool ``reserved``, answer only health checks."""
        super().connection_made(transport)
        # With 1, writing pauses as soon as the kernel's buffer is full. TLS needs at least 1.
        transport.set_write_buffer_limits(high=1, low=0)
        full = f"All {self._pool.limit} connections are in use. Try again later."
        if not self._pool.add(self):
            self._pool = self.server_state.reserved
            self.app = OnlyHealth(self.app, full)
            if not self._pool.add(self):
                self._refuse(503, full)
                return
        self._update_deadline()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request and set the deadline for the next part."""
        super().data_received(data)
        self._update_deadline()

    def on_response_complete(self) -> None:
        """Set the deadline for the next request."""
        super().on_response_complete()
        self._update_deadline()

    def pause_writing(self) -> None:
        """Set a deadline, because the client must read before the server can send more."""
        super().pause_writing()
        self._update_deadline()

    def resume_writing(self) -> None:
        """Cancel the deadline for reading."""
        super().resume_writing()
        self._update_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline, because the client or the server has closed the connection."""
        self._forget()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem document instead of uvicorn's plain text.

        uvicorn calls this method while it handles h11's exception.
        """
        status = getattr(sys.exc_info()[1], "error_status_hint", 400)
        if status == 431 and b"\r\n" not in self.conn.trailing_data[0]:
            self._refuse(*url_too_long())
        elif status == 431:
            self._refuse(*headers_too_long())
        else:
            self._refuse(400, msg)

    def end(self) -> None:
        """Close the connection at once, even if a request in progress has no answer yet."""
        self._forget()
        self.connections.discard(self)
        self.transport.abort()

    def _update_deadline(self) -> None:
        """Set a new deadline if the client must now send or read something; otherwise set none."""
        owed = self.flow.write_paused, self.cycle, self.conn.their_state
        if owed == self._owed:
            return
        self._owed = owed
        self._stop_watching()
        behind, _, state = owed
        if behind:
            self._deadline = self.loop.call_later(SECONDS, self.end)
        elif state in {h11.IDLE, h11.SEND_BODY}:
            self._deadline = self.loop.call_later(SECONDS, self._on_deadline)
            self._pool.waiting[self] = None

    def _stop_watching(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._pool.waiting.pop(self, None)

    def _forget(self) -> None:
        self._stop_watching()
        self._pool.remove(self)

    def _on_deadline(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:
            self._refuse(408, f"The body did not come within {SECONDS:.0f} seconds.")
        else:
            self.transport.close()  # not `end`: TLS may still have to send a part of the answer

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
