"""What 64 clients of the page cost the loop and the training.

The real service runs in this process; its clients in another one. Half of them never read, behind
buffers so small that the server is stuck with them before a block begins. Blocks with and without
clients alternate, so that a machine that slows down slows both alike.
"""

import argparse
import random
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keisei import Keisei, Settings

BEAT_SECONDS = 0.005
SETTLE_SECONDS = 1.0
CONNECT_SECONDS = 30
WARM_ITERATIONS = 3
RESAMPLES = 10_000
NEVER_READ_BUFFER = 2048
"""Bytes of kernel memory of a client that never reads: about one chunk of events fills it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's flags."""
    parser.add_argument("--config", default="quickstart", help="settings (default: quickstart)")
    parser.add_argument("--clients", type=int, default=64, help="streams (default: 64)")
    parser.add_argument("--blocks", type=int, default=24, help="blocks, even (default: 24)")
    parser.add_argument("--seconds", type=float, default=10, help="of a block (default: 10)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure. Returns lags in ms, steps per second, and their ratio with its 95 % interval.

    ``stalled`` and ``clients_at_end`` are the fewest at the end of a block with clients: of those
    that never read, how many the server could not send to or had dropped for it (the kernel does,
    after ten seconds); and how many the run still counted. ``tick_seconds`` lie between two chunks.
    """
    from keisei.cli import process
    from keisei.cli.errors import UsageError

    if args.blocks < 2 or args.blocks % 2:
        raise UsageError(f"--blocks: an even number, 2 or more (got {args.blocks})")
    process.set_up()
    import anyio

    with tempfile.TemporaryDirectory() as folder:
        return anyio.run(_measure, settings_in(args.config, folder), args)


def settings_in(config: str, folder: str, more: Mapping[str, Any] | None = None) -> "Settings":
    """Those of a file, or of a shipped one by its name, for a run in ``folder``."""
    from keisei import Settings
    from keisei.resources import config_file

    path = Path(config)
    overrides = {"run.root": folder, "server.port": 0, **(more or {})}
    return Settings.load(path if path.exists() else config_file(config), overrides)


async def _measure(settings: "Settings", args: argparse.Namespace) -> dict[str, Any]:
    import anyio

    from keisei import Keisei
    from keisei.server import create_app
    from keisei.server.serve import bind, end_streams_from_hub, run_server

    end_streams_from_hub()
    ended = anyio.Event()
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        async with Keisei(settings) as keisei, anyio.create_task_group() as tasks:
            tasks.start_soon(run_server, create_app(keisei), sock, ended)
            clients = await anyio.to_thread.run_sync(partial(_Clients, port, args.clients))
            try:
                report = await _blocks(keisei, clients, args)
            finally:
                await anyio.to_thread.run_sync(clients.end)
            keisei.stop()
            await keisei.wait()
            ended.set()
    return report


async def _blocks(
    keisei: "Keisei", clients: "_Clients", args: argparse.Namespace
) -> dict[str, Any]:
    import anyio

    from keisei import Iteration
    from keisei.runtime import hub

    warm = 0
    async for event in keisei.events({"metrics"}):
        warm += isinstance(event, Iteration)
        if warm == WARM_ITERATIONS:
            break
    lags: dict[bool, list[float]] = {True: [], False: []}
    speeds: dict[bool, list[float]] = {True: [], False: []}
    stalled, left = [], []
    for number in range(args.blocks):
        connected = number % 4 in (1, 2)  # without, with, with, without: a drift hits both alike
        await _until_clients(keisei, 0)
        if connected:
            await anyio.to_thread.run_sync(clients.connect)
            await _until_clients(keisei, args.clients)
        await anyio.sleep(SETTLE_SECONDS)
        lag, speed = await block(keisei, args.seconds)
        if connected:
            left.append(keisei.status().clients)
            stalled.append(await anyio.to_thread.run_sync(clients.disconnect))
        lags[connected] += lag
        speeds[connected].append(speed)
        print(f"block {number + 1}/{args.blocks}: {speed:,.0f} steps/s", file=sys.stderr)
    ratios = [on / off for on, off in zip(speeds[True], speeds[False], strict=True)]
    low, high = interval(ratios)
    return {
        "clients": args.clients,
        "never_reading": args.clients // 2,
        "stalled": min(stalled),
        "clients_at_end": min(left),
        "tick_seconds": max(hub.TICK, args.clients / hub.BUDGET),
        "blocks": args.blocks,
        "block_seconds": args.seconds,
        "loop_lag_ms": _lag_report(lags[True]),
        "loop_lag_ms_without_clients": _lag_report(lags[False]),
        "steps_per_second": statistics.median(speeds[True]),
        "steps_per_second_without_clients": statistics.median(speeds[False]),
        "ratio": statistics.median(ratios),
        "ratio_low": low,
        "ratio_high": high,
        "bytes_read": clients.bytes_read,
        "dropped": keisei.status().dropped,
    }


async def _until_clients(keisei: "Keisei", count: int) -> None:
    """Wait until the run itself counts that many streams."""
    import anyio

    with anyio.move_on_after(CONNECT_SECONDS):
        while keisei.status().clients != count:  # noqa: ASYNC110 (no event tells of it)
            await anyio.sleep(0.05)
        return
    raise RuntimeError(f"the run counts {keisei.status().clients} clients, not {count}")


async def block(keisei: "Keisei", seconds: float) -> tuple[list[float], float]:
    """Lags of the loop in ms, and training's steps per second between the first iteration's end and
    the last one's (by the device thread's clock: how late the loop hears of them plays no part)."""
    import anyio

    from keisei import Iteration

    lags: list[float] = []
    marks: list[tuple[float, int]] = []

    async def follow() -> None:
        async for event in keisei.events({"metrics"}):
            if isinstance(event, Iteration):
                marks.append((event.time, event.step))  # noqa: PERF401 (read while it grows)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            due = time.perf_counter() + BEAT_SECONDS
            await anyio.sleep(BEAT_SECONDS)
            lags.append((time.perf_counter() - due) * 1000)
        tasks.cancel_scope.cancel()
    if len(marks) < 2:
        raise RuntimeError(f"{len(marks)} iterations in {seconds} s: take longer blocks")
    (begin, first), (finish, last) = marks[0], marks[-1]
    return lags, (last - first) / (finish - begin)


def _lag_report(lags: list[float]) -> dict[str, float]:
    ordered = sorted(lags)
    return {
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
        "max": ordered[-1],
        "samples": len(ordered),
    }


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % interval of the median, by the bootstrap."""
    chance = random.Random(0)
    medians = sorted(
        statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES)
    )
    return medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975)]


class _Clients:
    """The other process. Its answers come as lines, so each call returns when it has been done."""

    def __init__(self, port: int, count: int) -> None:
        self.bytes_read = 0
        command = [sys.executable, "-m", "keisei.cli.bench_loop", str(port), str(count)]
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


def _be_clients(port: int, count: int) -> None:
    """What the other process does: raw sockets, of which every second one is never read."""
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
    _be_clients(int(sys.argv[1]), int(sys.argv[2]))
