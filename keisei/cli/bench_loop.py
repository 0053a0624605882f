"""What 64 clients of the page cost the loop and the training.

The real service runs in this process; its clients in another one, half of which never read. Blocks
with and without clients alternate, so that a machine that slows down slows both alike.
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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keisei import Keisei, Settings

BEAT_SECONDS = 0.005
SETTLE_SECONDS = 1.0
WARM_ITERATIONS = 3
RESAMPLES = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's flags."""
    parser.add_argument("--config", default="quickstart", help="settings (default: quickstart)")
    parser.add_argument("--clients", type=int, default=64, help="streams (default: 64)")
    parser.add_argument("--blocks", type=int, default=24, help="blocks, even (default: 24)")
    parser.add_argument("--seconds", type=float, default=10, help="of a block (default: 10)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure. Returns lags in ms, steps per second, and their ratio with its 95 % interval."""
    from keisei.cli import process
    from keisei.cli.errors import UsageError

    if args.blocks < 2 or args.blocks % 2:
        raise UsageError(f"--blocks: an even number, 2 or more (got {args.blocks})")
    process.set_up()
    import anyio

    with tempfile.TemporaryDirectory() as folder:
        return anyio.run(_measure, _settings(args.config, folder), args)


def _settings(config: str, folder: str) -> "Settings":
    from keisei import Settings
    from keisei.resources import config_file

    path = Path(config)
    overrides = {"run.root": folder, "server.port": 0}
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

    warm = 0
    async for event in keisei.events({"metrics"}):
        warm += isinstance(event, Iteration)
        if warm == WARM_ITERATIONS:
            break
    lags: dict[bool, list[float]] = {True: [], False: []}
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(args.blocks):
        connected = number % 4 in (1, 2)  # without, with, with, without: a drift hits both alike
        await anyio.to_thread.run_sync(clients.connect if connected else clients.disconnect)
        await anyio.sleep(SETTLE_SECONDS)
        lag, speed = await _block(keisei, args.seconds)
        lags[connected] += lag
        speeds[connected].append(speed)
        print(f"block {number + 1}/{args.blocks}: {speed:,.0f} steps/s", file=sys.stderr)
    ratios = [on / off for on, off in zip(speeds[True], speeds[False], strict=True)]
    low, high = _interval(ratios)
    return {
        "clients": args.clients,
        "never_reading": args.clients // 2,
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


async def _block(keisei: "Keisei", seconds: float) -> tuple[list[float], float]:
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


def _interval(ratios: list[float]) -> tuple[float, float]:
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
        """Open all streams; returns when those that read have got their first bytes."""
        self._ask("connect")

    def disconnect(self) -> None:
        """Close them."""
        self.bytes_read = int(self._ask("disconnect"))

    def end(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, command: str) -> str:
        assert self._process.stdin is not None  # noqa: S101 (for the type checker)
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise RuntimeError("the clients' process ended")
        return answer


def _be_clients(port: int, count: int) -> None:
    """What the other process does: raw sockets, of which every second one is never read."""
    commands = sys.stdin
    streams: list[socket.socket] = []
    taken = 0
    with selectors.DefaultSelector() as selector:
        selector.register(commands, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if isinstance(key.fileobj, socket.socket):
                    taken += len(key.fileobj.recv(1 << 16))
                    continue
                match commands.readline().strip():
                    case "":
                        return
                    case "connect" if not streams:
                        streams = [_open(port) for _ in range(count)]
                        for stream in streams[::2]:
                            taken += len(stream.recv(1 << 16))
                            selector.register(stream, selectors.EVENT_READ)
                    case "disconnect":
                        for stream in streams[::2]:
                            selector.unregister(stream)
                        for stream in streams:
                            stream.close()
                        streams = []
                print(taken, flush=True)


def _open(port: int) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port), timeout=60)
    request = (
        f"GET /api/events HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: text/event-stream\r\n\r\n"
    )
    stream.sendall(request.encode())
    return stream


if __name__ == "__main__":
    _be_clients(int(sys.argv[1]), int(sys.argv[2]))
