"""The socket and the uvicorn server of ``keisei serve``."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator, Sequence
from functools import partial

import anyio
import uvicorn
from sse_starlette.sse import AppStatus
from starlette.types import ASGIApp

from keisei.server.connections import SECONDS, Connection, Connections
from keisei.server.limits import MAX_HEADERS, MAX_URL, HeadSize, Pieces

BACKLOG = 512
"""Maximum number of connections that wait in the kernel until the server accepts them."""
BUFFER = 64 * 1024
"""Size that Keisei requests for each kernel buffer of a connection, in bytes.

A connection has two such buffers: one for data that the client has not read yet, and one for data
that the server has not read yet. By default, a buffer can grow to several MiB.
"""

USER_TIMEOUT_MS = 10_000
"""Milliseconds after which the kernel disconnects a client that acknowledges no data."""

GRACE_SECONDS = 2
"""Seconds that open requests have to finish after the server begins to stop."""

ACCEPTED_AT_ONCE = 8
"""Maximum number of connections that asyncio accepts before it handles the first of them."""


class BindError(OSError):
    """The server can't listen on the address."""


class PortInUseError(BindError):
    """Another program listens on the port."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 means any free port. Raises PortInUseError, BindError.

    Keisei opens the socket itself, because uvicorn raises SystemExit inside the event loop if the
    port is in use. Clients can connect before the server runs; their connections wait in the
    kernel. Every connection inherits the socket's options.
    """
    address = f"{host}:{port}"
    try:
        family, kind, proto, _, target = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        raise BindError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.bind(target)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            problem = f"another program uses {address}: end that program, or choose another --port"
            raise PortInUseError(error.errno, f"{problem} (0: any free port)") from None
        raise BindError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    sock.setblocking(False)
    return sock


def address_of(sock: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def end_streams_from_hub() -> None:
    """Prevent sse-starlette from ending the streams: the run ends them with the event ``bye``.

    By default, sse-starlette ends all streams at the first signal, before the run sends its last
    events. The change affects the whole process, so a library must not call this function.
    """
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]


async def run_server(
    app: ASGIApp,
    sock: socket.socket,
    stop: anyio.Event,
    *,
    tls: ssl.SSLContext | None = None,
    proxies: Sequence[str] = (),
) -> None:
    """Serve until ``stop`` is set or the task is cancelled.

    ``tls``: context for HTTPS; None for plain HTTP. ``proxies``: addresses and networks of proxies
    whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed.

    After ``stop`` is set, open requests can finish within ``GRACE_SECONDS``.
    ``keisei.server.connections`` limits the number of connections. ``sock`` stays open, so that the
    caller can start a new server on it after a failure.
    """
    config = uvicorn.Config(
        HeadSize(Pieces(app)),
        http=Connection,
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="none",
        ws="none",
        backlog=ACCEPTED_AT_ONCE,
        server_header=False,
        # The deadlines of Connection are shorter than this timeout. With uvicorn's default of
        # 5 s, which is also httpx's, the server would often close a connection that is about to be
        # used again.
        timeout_keep_alive=round(2 * SECONDS),
        timeout_graceful_shutdown=2 * GRACE_SECONDS,
        ssl_context_factory=(lambda config, default: tls) if tls else None,
        forwarded_allow_ips=list(proxies),  # uvicorn trusts this machine by default
        h11_max_incomplete_event_size=MAX_URL + MAX_HEADERS,
    )
    server = _Server(config)
    ours = sock.dup()  # a copy, because uvicorn closes the sockets that it serves
    ended = False
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_exit_after, stop, server)
            await server.serve(sockets=[ours])
            ended = True
            tasks.cancel_scope.cancel()
    finally:
        if server.started and not ended:  # uvicorn closes nothing if it was cancelled or failed
            with anyio.CancelScope(shield=True):
                await server.shutdown(sockets=[ours])
        ours.close()


async def _exit_after(stop: anyio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


class _Server(uvicorn.Server):
    """A uvicorn server that limits its connections and installs no signal handlers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state: Connections = Connections()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the server on ``sockets``.

        Uvicorn's own method does not limit the time of a TLS handshake. It also uses one number as
        the kernel's backlog and as the number of connections that asyncio accepts at once.
        """
        protocol = partial(
            Connection, config=self.config, server_state=self.server_state, app_state={}
        )
        self.servers = []
        for sock in sockets or ():
            server = await asyncio.get_running_loop().create_server(
                protocol,
                sock=sock,
                backlog=ACCEPTED_AT_ONCE,
                ssl=self.config.ssl,
                ssl_handshake_timeout=SECONDS if self.config.ssl else None,
            )
            self.servers.append(server)
            sock.listen(BACKLOG)
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the server. If requests are open after ``GRACE_SECONDS``, close all connections.

        Uvicorn itself would cancel these requests, and log each cancellation as an error with a
        traceback.
        """
        cut = asyncio.get_running_loop().call_later(GRACE_SECONDS, self.server_state.end)
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
