"""``tools/bench ppo``: compare the speed of Keisei's trainer and of a plain PPO loop over cshogi.

Both sides run in one process and take turns, one iteration at a time. The report holds medians.
Both train the network of ``--config`` from the same weights with the same batch, losses, threads
and start positions. The plain loop computes in float32, Keisei in ``compute.dtype``. Frozen
opponents are off: the network does not learn from their plies, so batches would differ. The search
for mates is off, because the plain loop has none.

The limit of a side is B / (t_fwd + E t_upd) as in ``keisei bench train``: the speed of its own
network and update on data that is already in memory.
"""

import argparse
import copy
import importlib.metadata
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from keisei.cli import process

process.set_up()  # before torch is imported, as for `keisei train`
process.keep_kernels()

import ppo_cleanrl  # noqa: E402
import psutil  # noqa: E402
import torch  # noqa: E402

from keisei.cli.bench.command import machine, versions  # noqa: E402
from keisei.cli.bench.train import network_parts, timed  # noqa: E402
from keisei.cli.errors import CommandError  # noqa: E402
from keisei.cli.settings import add_config, load, take_overrides  # noqa: E402
from keisei.config import Settings  # noqa: E402
from keisei.env import VectorEnv  # noqa: E402
from keisei.nets.policy import resolve_device, resolve_dtype  # noqa: E402
from keisei.ppo.clock import Clock  # noqa: E402
from keisei.ppo.learner import Learner  # noqa: E402

WARM_UP = 2
"""Rounds before the first measured one."""
Parts = dict[str, Callable[[], None]]


def main(argv: Sequence[str]) -> int:
    """Print the report. Return the exit code."""
    words, overrides = take_overrides(argv)
    parser = argparse.ArgumentParser(prog="tools/bench ppo", description=__doc__)
    add_config(parser)
    parser.add_argument("--repeats", type=int, default=12, help="measured rounds (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(words)
    args.overrides = overrides | {"opponents.share": 0, "env.mates": 0}
    try:
        with process.problems():
            report = measure(load(args), args.repeats)
    except CommandError as error:
        print(f"tools/bench: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(report) if args.json else "\n".join(table(report)))
    return 0


def measure(settings: Settings, repeats: int) -> dict[str, Any]:
    """Measure both sides in turns. All figures are medians: steps per second, seconds per
    iteration.

    ``others`` is the share of the processors' time that other processes used meanwhile; if it is
    large, do not trust the figures. ``other`` is the time of an iteration outside its phases.
    ``refill`` is the share of an iteration in which Keisei draws start positions; the plain loop
    gets them as a list before it begins.
    """
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.compute.dtype, device)
    torch.set_num_threads(settings.compute.threads or torch.get_num_threads())
    torch.manual_seed(settings.run.seed)
    learner = Learner(settings, device, dtype)
    learner.warm_up()
    plain = make_plain(settings, device)
    plain.iterate()  # its limit needs plies that it has played
    sides: dict[str, Parts] = {
        "keisei": {
            "iteration": lambda: iterate(learner),
            "refill": learner.env.refill_reset_pool,
            **network_parts(learner, settings),
        },
        "plain": {"iteration": plain.iterate, **plain_limit(plain, settings)},
    }
    clocks = {"keisei": learner.clock, "plain": plain.clock}
    begin, others = time.perf_counter(), others_seconds()
    rounds = take_turns(sides, clocks, WARM_UP + repeats, device)
    others, spent = others_seconds() - others, time.perf_counter() - begin
    learner.env.close()
    found = {side: summary(rows[WARM_UP:], settings) for side, rows in rounds.items()}
    pairs = zip(found["keisei"]["rounds"], found["plain"]["rounds"], strict=True)
    ratios = [ours / theirs for ours, theirs in pairs]
    return {
        "ratio": found["keisei"]["steps_per_second"] / found["plain"]["steps_per_second"],
        "ratio_spread": [min(ratios), max(ratios)],
        "keisei": found["keisei"] | {"dtype": str(dtype).removeprefix("torch.")},
        "plain": found["plain"] | {"dtype": "float32"},
        "repeats": repeats,
        "plies": settings.env.games * settings.ppo.rollout_plies,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "net": settings.net.model_dump(),
        "parameters": sum(p.numel() for p in plain.net.parameters()),
        "others": others / (spent * (os.cpu_count() or 1)),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine() | device_name(device),
        "versions": versions() | {"cshogi": importlib.metadata.version("cshogi")},
    }


def take_turns(
    sides: dict[str, Parts], clocks: dict[str, Clock], count: int, device: torch.device
) -> dict[str, list[dict[str, float]]]:
    """Time ``count`` rounds. Return the seconds of each side's parts and phases, by round."""
    rounds: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(count):
        for side, parts in sides.items():
            seconds = {name: timed(part, device) for name, part in parts.items()}
            rounds[side].append(seconds | clocks[side].seconds)
    return rounds


def summary(rounds: list[dict[str, float]], settings: Settings) -> dict[str, Any]:
    """Return one side's figures, from its seconds in each round."""
    median = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
    refill = median.pop("refill", 0.0) / settings.env.reset_refresh
    iteration, forward, update = (median.pop(name) for name in ("iteration", "t_fwd", "t_upd"))
    median.pop("t_opp", None)  # the part of frozen opponents, which are off
    plies = settings.env.games * settings.ppo.rollout_plies
    rates = [plies / (row["iteration"] + refill) for row in rounds]
    limit = plies / (forward + settings.ppo.epochs * update)
    return {
        "steps_per_second": statistics.median(rates),
        "spread": [min(rates), max(rates)],
        "limit": limit,
        "limit_ratio": statistics.median(rates) / limit,
        "phases": median | {"refill": refill, "other": iteration - sum(median.values())},
        "t_fwd": forward,
        "t_upd": update,
        "rounds": rates,
    }


def others_seconds() -> float:
    """Return the processor seconds that other processes have used since the machine started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system) - time.process_time()


def iterate(learner: Learner) -> None:
    """Run one iteration of Keisei."""
    learner.iteration = 0  # iteration 0 draws no start positions: `refill` measures that
    for _ in learner.iterate():
        pass


def make_plain(settings: Settings, device: torch.device) -> ppo_cleanrl.PPO:
    """Build the plain loop: staggered games, start positions drawn as Keisei draws them."""
    env, seed = settings.env, settings.run.seed
    with VectorEnv(
        env.reset_pool, max_ply=2 * env.reset_depth + 1, reset_pool=0, seed=seed
    ) as play:
        play.stagger()  # uniformly random play of 0..reset_depth plies
        starts = [play.sfen(i) for i in range(len(play))]
    envs = ppo_cleanrl.Envs(env, starts, seed)
    envs.stagger()
    return ppo_cleanrl.PPO(settings, envs, device)


def plain_limit(plain: ppo_cleanrl.PPO, settings: Settings) -> Parts:
    """Return the network's parts of the plain loop's iteration: its own functions on a copy."""
    ppo = settings.ppo
    net = copy.deepcopy(plain.net)
    optimizer = ppo_cleanrl.make_optimizer(net, ppo)
    acting = plain.planes[0].clone()
    everything = plain.prepare(plain.outcome)  # any values of the next positions cost the same
    batch = ppo_cleanrl.Batch(*(column[: ppo.minibatch].clone() for column in everything))

    @torch.no_grad()
    def t_fwd() -> None:
        for _ in range(ppo.rollout_plies):
            net(acting)

    def t_upd() -> None:
        for _ in range(-(-len(everything.action) // ppo.minibatch)):
            ppo_cleanrl.learn(net, optimizer, batch, ppo)

    return {"t_fwd": t_fwd, "t_upd": t_upd}


def device_name(device: torch.device) -> dict[str, str]:
    """Return the GPU's name, if the device is a GPU."""
    return {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}


def table(report: dict[str, Any]) -> list[str]:
    """Return a table of both sides: rates, then microseconds per step by phase."""
    sides = report["keisei"], report["plain"]
    lines = [f"{'':<16}{'keisei':>10}{'plain':>10}"]
    for name in ("steps_per_second", "limit", "limit_ratio"):
        digits = 3 if name == "limit_ratio" else 0
        lines.append(f"{name:<16}" + "".join(f"{side[name]:>10,.{digits}f}" for side in sides))
    for phase in sides[0]["phases"]:
        micro = [side["phases"][phase] * 1e6 / report["plies"] for side in sides]
        lines.append(f"{phase + ' us':<16}" + "".join(f"{value:>10,.1f}" for value in micro))
    low, high = report["ratio_spread"]
    lines.append(f"ratio {report['ratio']:.2f} (rounds {low:.2f} to {high:.2f})")
    return [*lines, f"other processes: {report['others']:.0%} of the processors' time"]
