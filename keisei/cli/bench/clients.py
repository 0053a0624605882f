"""Open many event streams from a separate process, for ``keisei bench loop``."""

import selectors
import socket
import subprocess
import sys
from pathlib import Path

CONNECT_SECONDS = 30
"""Timeout in seconds for the connections of the clients and for the server's answers."""

NEVER_READ_BUFFER = 2048
"""Size in bytes of a never-reading client's receive buffer, enough for about one chunk."""


class Clients:
    """A process that opens the streams. Each method returns after the process has acted."""

    def __init__(self, port: int, count: int) -> None:
        self.bytes_read = 0
        command = [sys.executable, "-m", "keisei.cli.bench.clients", str(port), str(count)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._request("ready")

    def connect(self) -> None:
        """Open all streams, and wait until the server has accepted each request (status 200)."""
        self._request("connect")

    def disconnect(self) -> int:
        """Close all streams. Return how many of the never-read streams had stalled."""
        received, stalled = self._request("disconnect").split()
        self.bytes_read += int(received)
        return int(stalled)

    def end(self) -> None:
        """End the process."""
        self._process.communicate()

    def _request(self, command: str) -> str:
        """Send a command to the process and return the answer of the process.

        Raises RuntimeError if a stream failed. In this case the process has printed the reason on
        stderr.
        """
        assert self._process.stdin is not None  # noqa: S101 (for the type checker)
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().strip()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError("the process of the benchmark's clients ended; see stderr")
        return answer


def be_clients(port: int, count: int) -> None:
    """Run the clients on raw sockets until stdin ends. Every second socket is never read."""
    streams: list[socket.socket] = []
    received = 0
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if isinstance(key.fileobj, socket.socket):
                    received += _read(key.fileobj)
                    continue
                match sys.stdin.readline().strip():
                    case "":
                        return
                    case "connect":
                        streams = [_open(port, reads=i % 2 == 0) for i in range(count)]
                        for stream in streams:
                            _check_answer(stream)
                        for stream in streams[::2]:
                            selector.register(stream, selectors.EVENT_READ)
                        print("connected", flush=True)
                    case "disconnect":
                        for stream in streams[::2]:
                            selector.unregister(stream)
                        print(received, _stalled(port, streams[1::2]), flush=True)
                        for stream in streams:
                            stream.close()
                        streams, received = [], 0
                    case _:
                        print("ready", flush=True)


def _open(port: int, *, reads: bool) -> socket.socket:
    """Connect to the server and request the event stream. Do not wait for the answer."""
    stream = socket.socket()
    stream.settimeout(CONNECT_SECONDS)
    if not reads:  # must be set before connect(), which fixes the window size
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NEVER_READ_BUFFER)
    stream.connect(("127.0.0.1", port))
    request = (
        f"GET /api/events HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: text/event-stream\r\n\r\n"
    )
    stream.sendall(request.encode())
    return stream


def _check_answer(stream: socket.socket) -> None:
    """Raise RuntimeError if the answer's status is not 200. The answer stays in the buffer."""
    answer = stream.recv(64, socket.MSG_PEEK)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"the server did not open a stream, but answered {answer!r}")


def _read(stream: socket.socket) -> int:
    """Read a stream, and return the number of bytes. Raises RuntimeError if the stream ends."""
    size = len(stream.recv(1 << 16))
    if not size:
        raise RuntimeError("the server closed a stream, although its client was reading")
    return size


def _stalled(port: int, streams: list[socket.socket]) -> int:
    """Return how many streams have stalled.

    A stalled stream is closed, or the server has data for it that could not be sent.
    """
    flowing = set()
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        established, unsent = state == "01", int(queues.partition(":")[0], 16)
        if local.endswith(f":{port:04X}") and established and not unsent:
            flowing.add(int(remote.rpartition(":")[2], 16))
    return sum(stream.getsockname()[1] not in flowing for stream in streams)


if __name__ == "__main__":
    be_clients(int(sys.argv[1]), int(sys.argv[2]))
