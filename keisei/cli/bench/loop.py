"""Measure how much 64 clients of the web page slow down the event loop and the training.

The real service runs in this process, and its clients run in another process. Every second client
never reads. The buffers of these clients are small, so the buffers are full before a block begins.
The order of the blocks is: without, with, with, without clients. So a steady change of the
machine's speed affects both kinds alike.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from keisei.cli import settings
from keisei.cli.bench.clients import CONNECT_SECONDS, Clients
from keisei.cli.errors import UsageError, require

if TYPE_CHECKING:
    from keisei import Iteration, Keisei, Settings

BEAT_SECONDS = 0.005
"""Length in seconds of a sleep. The event loop's lag is the time by which the sleep ends late."""

SETTLE_SECONDS = 1.0
"""Seconds between the connection of the clients and the start of the block."""

WARM_ITERATIONS = 3
RESAMPLES = 10_000
"""Number of resamples of the bootstrap."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``keisei bench loop``."""
    settings.add_config(parser)
    parser.add_argument(
        "--clients",
        type=settings.whole,
        metavar="N",
        default=64,
        help="number of event streams (default: 64)",
    )
    parser.add_argument(
        "--blocks",
        type=settings.whole,
        metavar="N",
        default=24,
        help="number of blocks, an even number (default: 24)",
    )
    parser.add_argument(
        "--seconds", type=float, metavar="N", default=10, help="seconds per block (default: 10)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return the event loop's lags in ms, the steps per second, and the ratio of the speeds.

    A ratio is the speed of a block with clients divided by the speed of a block without clients.
    ``ratio`` is the median of the ratios; ``ratio_low`` and ``ratio_high`` are the bounds of the
    median's 95 % interval. ``stalled`` is the number of never-reading clients to which the server
    could not send all data. This number includes clients that the kernel disconnected for this
    reason, after ten seconds. ``clients_at_end`` is the number of clients that were still
    connected. ``stalled`` and ``clients_at_end`` are measured at the end of each block with
    clients, and the lowest value of all these blocks is returned. ``tick_seconds`` is the time
    between two chunks of events.
    """
    from keisei.cli import process

    require(
        "blocks",
        args.blocks,
        args.blocks >= 2 and args.blocks % 2 == 0,
        "an even number, 2 or more",
    )
    require("seconds", args.seconds, args.seconds > 0, "more than 0")
    with tempfile.TemporaryDirectory() as folder:
        chosen = settings_in(folder, args)
        most = chosen.server.max_streams
        require("clients", args.clients, 1 <= args.clients <= most, f"1 to {most}")
        process.set_up()
        import anyio

        return anyio.run(_measure, chosen, args)


def settings_in(
    folder: str, args: argparse.Namespace, more: Mapping[str, Any] | None = None
) -> "Settings":
    """Return the settings of an endless run in ``folder``: the flags, overridden by ``more``."""
    args.overrides |= {"run.root": folder, "run.steps": 0, "run.minutes": 0, **(more or {})}
    return settings.load(args)


async def _measure(chosen: "Settings", args: argparse.Namespace) -> dict[str, Any]:
    import anyio

    from keisei import Keisei
    from keisei.play.background import in_background
    from keisei.server import create_app
    from keisei.server.serve import bind, end_streams_from_hub, run_server

    end_streams_from_hub()
    ended = anyio.Event()
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        async with (
            Keisei(chosen) as keisei,
            in_background(partial(run_server, create_app(keisei), sock, ended), ended.set),
        ):
            clients = await anyio.to_thread.run_sync(partial(Clients, port, args.clients))
            try:
                report = await _blocks(keisei, clients, args)
            finally:
                await anyio.to_thread.run_sync(clients.end)
            keisei.stop()
            await keisei.wait()
    return report


async def iterations(keisei: "Keisei", count: int, seconds: float = 0) -> "list[Iteration]":
    """Return the next iterations: at least ``count`` iterations, during at least ``seconds``.

    Raises RuntimeError if the run ends first.
    """
    from keisei import Iteration

    received: list[Iteration] = []
    async for event in keisei.events({"metrics"}):
        if isinstance(event, Iteration):
            received.append(event)
            if len(received) >= count and event.time - received[0].time >= seconds:
                return received
    raise RuntimeError("the run ended before the end of the measurement")


async def _blocks(keisei: "Keisei", clients: Clients, args: argparse.Namespace) -> dict[str, Any]:
    import anyio

    from keisei.feed import hub

    await iterations(keisei, WARM_ITERATIONS)
    lags: dict[bool, list[float]] = {True: [], False: []}
    speeds: dict[bool, list[float]] = {True: [], False: []}
    stalled, left = [], []
    for number in range(args.blocks):
        # The order is without, with, with, without clients, so drift affects both kinds alike.
        connected = number % 4 in (1, 2)
        await _wait_for_clients(keisei, 0)
        if connected:
            await anyio.to_thread.run_sync(clients.connect)
            await _wait_for_clients(keisei, args.clients)
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


async def _wait_for_clients(keisei: "Keisei", count: int) -> None:
    """Wait until ``count`` streams are open. Raises RuntimeError after ``CONNECT_SECONDS``."""
    import anyio

    with anyio.move_on_after(CONNECT_SECONDS):
        while keisei.status().clients != count:  # noqa: ASYNC110 (no event announces this)
            await anyio.sleep(0.05)
        return
    raise RuntimeError(f"{keisei.status().clients} clients are connected, not {count}")


async def block(keisei: "Keisei", seconds: float) -> tuple[list[float], float]:
    """Measure one block. Return the event loop's lags in ms, and training's steps per second.

    The speed is measured from the end of the first iteration to the end of the last iteration. The
    device thread measures both times, so a lag of the event loop does not change the speed.
    Raises UsageError if fewer than two iterations end.
    """
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
        raise UsageError(
            f"--seconds: {seconds} s is too short: {len(marks)} iterations ended, 2 are needed"
        )
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
    """Return the 95 % bootstrap interval of the median of ``ratios``."""
    chance = random.Random(0)
    medians = sorted(
        statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES)
    )
    return medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975)]
