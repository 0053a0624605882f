"""What evaluations cost the training that they are played beside.

Blocks in turns, so that a machine that slows down slows all alike: ``bare``, the learner alone in a
process without a run around it; ``idle``, a run with nothing to evaluate; ``playing``, the same run
while a match of two networks always has games to play. Who has no turn is paused. Nobody learns: a
better network plays other games, with fewer legal moves, which are faster. ``idle_of_bare`` and
``playing_of_bare`` are medians over the rounds, with 95 % intervals; ``share`` is what evaluation took
of the device's time.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from keisei.cli.bench_loop import WARM_ITERATIONS, interval, iterations, settings_in
from keisei.cli.errors import require
from keisei.cli.settings import add_config

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from keisei import Keisei, Settings

GAMES = 10_000
KINDS = ("bare", "idle", "playing")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's flags."""
    add_config(parser)
    parser.add_argument("--rounds", type=int, default=10, help="of three blocks (default: 10)")
    parser.add_argument("--seconds", type=float, default=10, help="of a block (default: 10)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure. Returns steps per second and their ratios."""
    from keisei.cli import process

    require("rounds", args.rounds, args.rounds >= 1, "1 or more")
    require("seconds", args.seconds, args.seconds > 0, "more than 0")
    with tempfile.TemporaryDirectory() as folder:
        still = {"ppo.learning_rate": 1e-12, "ppo.learning_rate_final": 0}
        settings = settings_in(folder, args, still)
        share = settings.evaluation.share
        require("evaluation.share", share, share > 0, "more than 0")  # else it is never its turn
        process.set_up()
        import anyio

        return anyio.run(_measure, settings, args)


async def _measure(settings: "Settings", args: argparse.Namespace) -> dict[str, Any]:
    from anyio import to_thread

    from keisei import Keisei

    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    shares = []
    ours, theirs = multiprocessing.Pipe()
    async with Keisei(settings) as keisei:
        await iterations(keisei, WARM_ITERATIONS)
        await keisei.pause()
        # Spawned, not forked: OpenMP's threads do not survive a fork.
        learner = multiprocessing.get_context("spawn").Process(
            target=_learn_alone, args=(keisei.settings, theirs), daemon=True
        )
        learner.start()
        theirs.close()
        await to_thread.run_sync(ours.recv)
        for number in range(args.rounds):
            first = number % len(KINDS)
            for kind in KINDS[first:] + KINDS[:first]:
                if kind == "bare":
                    ours.send(args.seconds)
                    speed = await to_thread.run_sync(ours.recv)
                else:
                    await keisei.resume()
                    speed, share = await _run_block(keisei, args.seconds, kind == "playing")
                    await keisei.pause()
                    shares += [share] if kind == "playing" else []
                found[kind].append(speed)
                print(f"round {number + 1}: {kind} {speed:,.0f} steps/s", file=sys.stderr)
        ours.close()
        await to_thread.run_sync(learner.join)
        keisei.stop()
    report: dict[str, Any] = {
        f"{kind}_steps_per_second": statistics.median(speeds) for kind, speeds in found.items()
    }
    for kind in KINDS[1:]:
        ratios = [some / bare for some, bare in zip(found[kind], found["bare"], strict=True)]
        report[f"{kind}_of_bare"] = statistics.median(ratios)
        report[f"{kind}_of_bare_interval"] = interval(ratios)
    return report | {"share": statistics.median(shares), "rounds": args.rounds}


def _learn_alone(settings: "Settings", pipe: "Connection") -> None:
    """The other process: answer each number of seconds with the steps per second of a learner."""
    from keisei.cli import process

    process.set_up()
    import torch

    from keisei.runtime.learners import build_learner

    torch.set_num_threads(settings.compute.threads)
    learner = build_learner(settings)
    learner.warm_up()
    pipe.send("ready")
    with suppress(EOFError):
        while seconds := pipe.recv():
            for _ in learner.iterate():  # the first one after a break warms up
                pass
            first, began = learner.step, time.perf_counter()
            while time.perf_counter() - began < seconds:
                for _ in learner.iterate():
                    pass
            pipe.send((learner.step - first) / (time.perf_counter() - began))
    learner.env.close()


async def _run_block(keisei: "Keisei", seconds: float, playing: bool) -> tuple[float, float]:
    """Steps per second of the run, and evaluation's mean share of an iteration's time."""
    from keisei.evaluation.spec import CURRENT, EvaluationSpec

    spec = EvaluationSpec(opponents=(CURRENT,), games=GAMES)
    handle = await keisei.evaluate(spec) if playing else None
    while handle is not None and keisei.evaluation(handle.id)["state"] != "running":  # type: ignore[index]
        await iterations(keisei, 1)
    await iterations(keisei, 1)
    block = await iterations(keisei, 2, seconds)
    if handle is not None:
        handle.cancel()
        await handle.result()
    steps, spent = block[-1].step - block[0].step, block[-1].time - block[0].time
    return steps / spent, statistics.mean(i.values["speed/share_evaluation"] for i in block[1:])
