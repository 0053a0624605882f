"""Measure how much training slows down if evaluations run at the same time.

A round measures training in one block of each kind:

- ``bare``: only the learner works, on the run's device thread; the rest of the run waits.
- ``idle``: the whole run works, but there is nothing to evaluate.
- ``playing``: the whole run works, and a match of two networks always has games to play.

The order of the kinds changes from round to round, so a slow change of the machine's speed affects
all kinds alike. All blocks use the same learner on the same thread. In two processes, equal
learners differed in speed by up to 3 %. In two threads of one process, two learners have two OpenMP
thread pools, which slow each other down (docs/experiments.md). The learning rate is almost 0.
Otherwise the network would learn to reach positions with fewer legal moves, and such positions take
less time.

In each round, the speed of ``idle`` is divided by the speed of ``bare``. ``idle_of_bare`` is the
median of these ratios, and ``idle_of_bare_interval`` is the median's 95 % interval.
``playing_of_bare`` and ``playing_of_bare_interval`` are the same for ``playing``. ``share`` is the
median share of the device's time that evaluation took in a ``playing`` block.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Generator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from keisei.cli.bench.loop import WARM_ITERATIONS, interval, iterations, settings_in
from keisei.cli.errors import require
from keisei.cli.settings import add_config, whole

if TYPE_CHECKING:
    from keisei import Keisei, Settings
    from keisei.ppo.learner import Learner

GAMES = 10_000
"""Number of games in the match, so large that the match never ends within a block."""

KINDS = ("bare", "idle", "playing")
ENDED = ("finished", "stopped", "failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``keisei bench contention``."""
    add_config(parser)
    parser.add_argument(
        "--rounds",
        type=whole,
        metavar="N",
        default=10,
        help="number of rounds of three blocks each (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        default=10,
        help="seconds per block (default: %(default)s)",
    )
    parser.add_argument(
        "--simulations",
        type=whole,
        metavar="N",
        default=0,
        help="simulations of a tree search for each move of the match; 0: none (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return the steps per second in each kind of block, and the ratios of these speeds."""
    from keisei.cli import process

    require("rounds", args.rounds, args.rounds >= 1, "1 or more")
    require("seconds", args.seconds, args.seconds > 0, "more than 0")
    require("simulations", args.simulations, args.simulations >= 0, "0 or more")
    with tempfile.TemporaryDirectory() as folder:
        still = {"ppo.learning_rate": 1e-12, "ppo.learning_rate_final": 0}
        settings = settings_in(folder, args, still)
        share = settings.evaluation.share
        # With a share of 0, an evaluation would never run, and the benchmark would never end.
        require("evaluation.share", share, share > 0, "more than 0")
        process.set_up()
        import anyio

        return anyio.run(_measure, settings, args)


async def _measure(settings: "Settings", args: argparse.Namespace) -> dict[str, Any]:
    from keisei import Keisei
    from keisei.runtime.prepare import decide

    measured: dict[str, list[float]] = {kind: [] for kind in KINDS}
    shares = []
    learner_alone = _LearnerAlone()
    async with Keisei(decide(settings), _learner=learner_alone.build) as keisei:
        await iterations(keisei, WARM_ITERATIONS)
        for number in range(args.rounds):
            first = number % len(KINDS)
            for kind in KINDS[first:] + KINDS[:first]:
                if kind == "bare":
                    speed = await learner_alone.speed(keisei, args.seconds)
                else:
                    simulations = args.simulations if kind == "playing" else None
                    speed, share = await _run_block(keisei, args.seconds, simulations)
                    shares += [share] if kind == "playing" else []
                measured[kind].append(speed)
                print(f"round {number + 1}: {kind} {speed:,.0f} steps/s", file=sys.stderr)
        keisei.stop()
    report: dict[str, Any] = {
        f"{kind}_steps_per_second": statistics.median(speeds) for kind, speeds in measured.items()
    }
    for kind in KINDS[1:]:
        pairs = zip(measured[kind], measured["bare"], strict=True)
        ratios = [speed / bare for speed, bare in pairs]
        report[f"{kind}_of_bare"] = statistics.median(ratios)
        report[f"{kind}_of_bare_interval"] = interval(ratios)
    return report | {"share": statistics.median(shares), "rounds": args.rounds}


class _LearnerAlone:
    """Measures the speed of a run's learner while the device thread does nothing but train."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[float] = SimpleQueue()
        self._speeds: SimpleQueue[float] = SimpleQueue()

    def build(self, settings: "Settings") -> "Learner":
        """Build the run's learner.

        If ``speed`` waits for a measurement, the learner's ``iterate`` first makes the measurement.
        """
        from keisei.runtime.learners import build_learner

        learner = build_learner(settings)
        iterate = learner.iterate

        def train_alone_on_request() -> Generator[None, None, Any]:
            if not self._requests.empty():
                seconds = self._requests.get()
                for _ in iterate():  # meanwhile the event loop finishes older work
                    pass
                first, began = learner.step, time.perf_counter()
                while time.perf_counter() - began < seconds:
                    for _ in iterate():
                        pass
                self._speeds.put((learner.step - first) / (time.perf_counter() - began))
            return (yield from iterate())

        learner.iterate = train_alone_on_request  # type: ignore[method-assign]
        return learner

    async def speed(self, keisei: "Keisei", seconds: float) -> float:
        """Let only the learner work for ``seconds``. Return its steps per second.

        Raises RuntimeError if the run ends first.
        """
        import anyio

        self._requests.put(seconds)
        while self._speeds.empty():
            if keisei.status().state in ENDED:
                raise RuntimeError("the run ended before the end of the measurement")
            await anyio.sleep(0.5)
        return self._speeds.get()


async def _run_block(
    keisei: "Keisei", seconds: float, simulations: int | None
) -> tuple[float, float]:
    """Return the steps per second, and evaluation's mean share of the time of an iteration.

    ``simulations``: number of simulations for each move of the match; None: no match is played.
    """
    from keisei.evaluation.spec import CURRENT, EvaluationSpec

    player = f"{CURRENT}?simulations={simulations or 0}"
    spec = EvaluationSpec(agents=(player,), opponents=(player,), games=GAMES)
    handle = await keisei.evaluate(spec) if simulations is not None else None
    while handle is not None and keisei.evaluation(handle.id)["state"] != "running":  # type: ignore[index]
        await iterations(keisei, 1)
    await iterations(keisei, 1)
    block = await iterations(keisei, 2, seconds)
    if handle is not None:
        handle.cancel()
        await handle.result()
    steps, spent = block[-1].step - block[0].step, block[-1].time - block[0].time
    return steps / spent, statistics.mean(i.values["speed/share_evaluation"] for i in block[1:])
