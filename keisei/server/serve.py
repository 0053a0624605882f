"""Running the service by itself, as ``keisei serve`` does: the socket and uvicorn."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import anyio
import uvicorn
from sse_starlette.sse import AppStatus
from starlette.types import ASGIApp

from keisei.server.connections import Connection, Connections

BACKLOG = 512
SEND_BUFFER = 64 * 1024
"""Bytes of kernel memory a client that doesn't read can pin; unset it grows to megabytes."""

USER_TIMEOUT_MS = 10_000
"""After so long without an acknowledgement the kernel drops a client."""

GRACE_SECONDS = 2
"""What open requests get at the end; then their connections are cut."""

ACCEPTED_AT_ONCE = 8
"""Asyncio takes so many connections before the first of them is looked at."""


class BindError(OSError):
    """The address can't be listened on."""


class PortInUseError(BindError):
    """Another program listens there."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises PortInUseError, BindError.

    Bound here and not by uvicorn, which answers a clash with SystemExit inside the loop. Clients
    may connect at once and wait in the backlog. The options are inherited by every connection.
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
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.bind(target)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            problem = f"{address} is in use by another program: end it, or choose --port"
            raise PortInUseError(error.errno, f"{problem} (0 takes any free one)") from None
        raise BindError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    sock.setblocking(False)
    return sock


def address_of(sock: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def end_streams_from_hub() -> None:
    """Tell sse-starlette that streams end when the run closes them, with ``bye``.

    Left alone it cuts them at the first signal, before the run's last events. The switch is
    process-wide, so only the program that owns the process may turn it.
    """
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]


async def run_server(app: ASGIApp, sock: socket.socket, stop: anyio.Event) -> None:
    """Serve until ``stop`` is set (then open requests get two seconds) or the task is cancelled.

    Slow clients and too many of them are cut off: see ``keisei.server.connections``.
    ``sock`` stays open and the caller's, so that a server that failed can be started again on it.
    """
    config = uvicorn.Config(
        app,
        http=Connection,
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="none",
        ws="none",
        backlog=ACCEPTED_AT_ONCE,
        server_header=False,
        timeout_graceful_shutdown=2 * GRACE_SECONDS,
    )
    server = _Server(config)
    ours = sock.dup()  # uvicorn closes what it is given
    ended = False
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_exit_after, stop, server)
            await server.serve(sockets=[ours])
            ended = True
            tasks.cancel_scope.cancel()
    finally:
        if server.started and not ended:  # cancelled or failed: uvicorn leaves everything open
            with anyio.CancelScope(shield=True):
                await server.shutdown(sockets=[ours])
        ours.close()


async def _exit_after(stop: anyio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn that bounds its connections and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state: Connections = Connections()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Asyncio has one number for what the kernel keeps and for what it takes at once; we two."""
        await super().startup(sockets)
        for sock in sockets or ():
            sock.listen(BACKLOG)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close. A request that takes too long loses its connection, and so comes to an end.

        Uvicorn would cancel it, and log a traceback of that as an error.
        """
        cut = asyncio.get_running_loop().call_later(GRACE_SECONDS, self.server_state.end)
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
