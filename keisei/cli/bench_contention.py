"""What evaluations cost the training that they are played beside.

Blocks in turns, so that a machine that slows down slows all alike: ``bare``, the learner alone on a
thread, without a run around it; ``idle``, a run with nothing to evaluate; ``playing``, the same run
while a match of two networks always has games to play. Nobody learns: a better network plays other
games, with fewer legal moves, which are faster. ``idle_of_bare`` and ``playing_of_bare`` are
medians over the rounds, with 95 % intervals; ``share`` is what evaluation took of the device's time.
"""

import argparse
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keisei import Keisei
    from keisei.ppo.learner import Learner

GAMES = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's flags."""
    parser.add_argument("--config", default="quickstart", help="settings (default: quickstart)")
    parser.add_argument("--share", type=float, default=0.1, help="evaluation.share (default: 0.1)")
    parser.add_argument("--rounds", type=int, default=10, help="of three blocks (default: 10)")
    parser.add_argument("--seconds", type=float, default=10, help="of a block (default: 10)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure. Returns steps per second and their ratios."""
    from keisei.cli import process
    from keisei.cli.bench_loop import settings_in

    process.set_up()
    import anyio

    with tempfile.TemporaryDirectory() as folder:
        still = {"ppo.learning_rate": 1e-12, "ppo.learning_rate_final": 0}
        settings = settings_in(args.config, folder, {"evaluation.share": args.share, **still})
        return anyio.run(_measure, settings, args)


async def _measure(settings: Any, args: argparse.Namespace) -> dict[str, Any]:
    from anyio import CapacityLimiter, to_thread

    from keisei import Keisei
    from keisei.cli.bench_loop import WARM_ITERATIONS, interval
    from keisei.runtime.learners import build_learner

    thread = CapacityLimiter(1)
    async with Keisei(settings) as keisei:
        learner: Any = await to_thread.run_sync(build_learner, keisei.settings, limiter=thread)
        await to_thread.run_sync(learner.warm_up, limiter=thread)
        await _iterations(keisei, WARM_ITERATIONS)
        found: dict[str, list[float]] = {"bare": [], "idle": [], "playing": []}
        shares = []
        for number in range(args.rounds):
            order = list(found) if number % 2 else list(found)[::-1]
            for kind in order:
                if kind == "bare":
                    await keisei.pause()
                    speed = await to_thread.run_sync(_bare, learner, args.seconds, limiter=thread)
                    await keisei.resume()
                else:
                    speed, share = await _run_block(keisei, args.seconds, kind == "playing")
                    shares += [share] if kind == "playing" else []
                found[kind].append(speed)
                print(f"round {number + 1}: {kind} {speed:,.0f} steps/s", file=sys.stderr)
        await to_thread.run_sync(learner.env.close, limiter=thread)
        keisei.stop()
    report: dict[str, Any] = {
        f"{kind}_steps_per_second": statistics.median(speeds) for kind, speeds in found.items()
    }
    for kind in ("idle", "playing"):
        ratios = [some / bare for some, bare in zip(found[kind], found["bare"], strict=True)]
        report[f"{kind}_of_bare"] = statistics.median(ratios)
        report[f"{kind}_of_bare_interval"] = interval(ratios)
    return report | {"share": statistics.median(shares), "rounds": args.rounds}


def _bare(learner: "Learner", seconds: float) -> float:
    """Steps per second of a learner by itself."""
    for _ in learner.iterate():  # the first one after a break warms up
        pass
    first, began = learner.step, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for _ in learner.iterate():
            pass
    return (learner.step - first) / (time.perf_counter() - began)


async def _run_block(keisei: "Keisei", seconds: float, playing: bool) -> tuple[float, float]:
    """Steps per second of the run, and evaluation's mean share of an iteration's time."""
    import anyio

    from keisei import Iteration
    from keisei.cli.bench_loop import block
    from keisei.evaluation.spec import CURRENT, EvaluationSpec

    shares: list[float] = []

    async def follow() -> None:
        async for event in keisei.events({"metrics"}):
            if isinstance(event, Iteration):
                shares.append(event.values["speed/share_evaluation"])  # noqa: PERF401

    spec = EvaluationSpec(opponents=(CURRENT,), games=GAMES)
    handle = await keisei.evaluate(spec) if playing else None
    while handle is not None and keisei.evaluation(handle.id)["state"] != "running":  # type: ignore[index]
        await _iterations(keisei, 1)
    await _iterations(keisei, 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        _, speed = await block(keisei, seconds)
        tasks.cancel_scope.cancel()
    if handle is not None:
        handle.cancel()
        await handle.result()
    return speed, statistics.mean(shares)


async def _iterations(keisei: "Keisei", count: int) -> None:
    """Wait for so many iterations."""
    from keisei import Iteration

    async for event in keisei.events({"metrics"}):
        count -= isinstance(event, Iteration)
        if count == 0:
            return
    raise RuntimeError("the run has ended")
