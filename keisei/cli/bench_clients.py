"""The clients of ``keisei bench loop``: many event streams, held open by a process of their own."""

import selectors
import socket
import subprocess
import sys
from pathlib import Path

CONNECT_SECONDS = 30
NEVER_READ_BUFFER = 2048
"""Bytes of kernel memory of a client that never reads: about one chunk of events fills it."""


class Clients:
    """The process. Its answers come as lines, so each call returns when it has been done."""

    def __init__(self, port: int, count: int) -> None:
        self.bytes_read = 0
        command = [sys.executable, "-m", "keisei.cli.bench_clients", str(port), str(count)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ask("ready")

    def connect(self) -> None:
        """Open all streams; returns when each has been answered with 200."""
        self._ask("connect")

    def disconnect(self) -> int:
        """Close them. Returns how many that never read were stalled (see ``_stalled``)."""
        taken, stalled = self._ask("disconnect").split()
        self.bytes_read += int(taken)
        return int(stalled)

    def end(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, command: str) -> str:
        """The answer. Raises RuntimeError if a stream failed; the process told why on stderr."""
        assert self._process.stdin is not None  # noqa: S101 (for the type checker)
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().strip()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError("the clients' process ended")
        return answer


def be_clients(port: int, count: int) -> None:
    """What the process does: raw sockets, of which every second one is never read."""
    streams: list[socket.socket] = []
    taken = 0
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if isinstance(key.fileobj, socket.socket):
                    taken += _read(key.fileobj)
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
                        print(taken, _stalled(port, streams[1::2]), flush=True)
                        for stream in streams:
                            stream.close()
                        streams, taken = [], 0
                    case _:
                        print("ready", flush=True)


def _open(port: int, *, reads: bool) -> socket.socket:
    stream = socket.socket()
    stream.settimeout(CONNECT_SECONDS)
    if not reads:  # before it connects: the window is agreed upon then
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NEVER_READ_BUFFER)
    stream.connect(("127.0.0.1", port))
    request = (
        f"GET /api/events HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: text/event-stream\r\n\r\n"
    )
    stream.sendall(request.encode())
    return stream


def _check_answer(stream: socket.socket) -> None:
    """Look at the status line and leave it in the buffer."""
    answer = stream.recv(64, socket.MSG_PEEK)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"a stream was answered {answer!r}")


def _read(stream: socket.socket) -> int:
    """Bytes read, at least one."""
    size = len(stream.recv(1 << 16))
    if not size:
        raise RuntimeError("the server ended a stream that was read")
    return size


def _stalled(port: int, streams: list[socket.socket]) -> int:
    """How many of the streams have data waiting at the server's end, or no server's end any more."""
    flowing = set()
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        established, unsent = state == "01", int(queues.partition(":")[0], 16)
        if local.endswith(f":{port:04X}") and established and not unsent:
            flowing.add(int(remote.rpartition(":")[2], 16))
    return sum(stream.getsockname()[1] not in flowing for stream in streams)


if __name__ == "__main__":
    be_clients(int(sys.argv[1]), int(sys.argv[2]))
