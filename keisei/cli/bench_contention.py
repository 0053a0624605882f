"""What evaluations cost the training that they are played beside.

Blocks in turns, so that a machine that slows down slows all alike: ``bare``, the run's learner alone
on its device thread, the run around it asleep but for its clocks; ``idle``, the run with nothing to
evaluate; ``playing``, the run while a match of two networks always has games to play. One learner on
one thread: equal ones in two processes differed by up to 3 %, and on two threads of one process
OpenMP's pools slow each other down (docs/experiments.md). Nobody learns: a better network plays other
games, with fewer legal moves, which are faster. ``idle_of_bare`` and ``playing_of_bare`` are medians
over the rounds, with 95 % intervals; ``share`` is what evaluation took of the device's time.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Generator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from keisei.cli.bench_loop import WARM_ITERATIONS, interval, iterations, settings_in
from keisei.cli.errors import require
from keisei.cli.settings import add_config, whole

if TYPE_CHECKING:
    from keisei import Keisei, Settings
    from keisei.ppo.learner import Learner

GAMES = 10_000
KINDS = ("bare", "idle", "playing")
ENDED = ("finished", "stopped", "failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's flags."""
    add_config(parser)
    parser.add_argument("--rounds", type=whole, default=10, help="of three blocks (default: 10)")
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
    from keisei import Keisei
    from keisei.runtime.prepare import decide

    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    shares = []
    alone = _Alone()
    async with Keisei(decide(settings), _learner=alone.build) as keisei:
        await iterations(keisei, WARM_ITERATIONS)
        for number in range(args.rounds):
            first = number % len(KINDS)
            for kind in KINDS[first:] + KINDS[:first]:
                if kind == "bare":
                    speed = await alone.speed(keisei, args.seconds)
                else:
                    speed, share = await _run_block(keisei, args.seconds, kind == "playing")
                    shares += [share] if kind == "playing" else []
                found[kind].append(speed)
                print(f"round {number + 1}: {kind} {speed:,.0f} steps/s", file=sys.stderr)
        keisei.stop()
    report: dict[str, Any] = {
        f"{kind}_steps_per_second": statistics.median(speeds) for kind, speeds in found.items()
    }
    for kind in KINDS[1:]:
        ratios = [some / bare for some, bare in zip(found[kind], found["bare"], strict=True)]
        report[f"{kind}_of_bare"] = statistics.median(ratios)
        report[f"{kind}_of_bare_interval"] = interval(ratios)
    return report | {"share": statistics.median(shares), "rounds": args.rounds}


class _Alone:
    """Has a run's device thread train for a while with nothing around it, when it is asked to."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[float] = SimpleQueue()
        self._speeds: SimpleQueue[float] = SimpleQueue()

    def build(self, settings: "Settings") -> "Learner":
        """The run's learner."""
        from keisei.runtime.learners import build_learner

        learner = build_learner(settings)
        iterate = learner.iterate

        def alone_if_asked() -> Generator[None, None, Any]:
            if not self._asked.empty():
                seconds = self._asked.get()
                for _ in iterate():  # what the block before left to do on the loop ends meanwhile
                    pass
                first, began = learner.step, time.perf_counter()
                while time.perf_counter() - began < seconds:
                    for _ in iterate():
                        pass
                self._speeds.put((learner.step - first) / (time.perf_counter() - began))
            return (yield from iterate())

        learner.iterate = alone_if_asked  # type: ignore[method-assign]
        return learner

    async def speed(self, keisei: "Keisei", seconds: float) -> float:
        """Steps per second over so many seconds. Raises RuntimeError if the run ends before."""
        import anyio

        self._asked.put(seconds)
        while self._speeds.empty():
            if keisei.status().state in ENDED:
                raise RuntimeError("the run has ended")
            await anyio.sleep(0.5)
        return self._speeds.get()


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
