"""``tools/bench env``: time Keisei's environment and a cshogi loop for the same work, in turns."""

import argparse
import json
import statistics
from collections.abc import Sequence

import env_cshogi

from keisei.cli import bench_env
from keisei.cli.bench import machine, versions

GAMES = 1024


def main(argv: Sequence[str]) -> int:
    """Print the median speed of each side over the rounds, and their ratio."""
    parser = argparse.ArgumentParser(prog="tools/bench env", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time of cshogi in each round")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    bench_env.add_arguments(parser)
    args = parser.parse_args(argv)
    ours, theirs, shares = [], [], []
    with bench_env.one_core() as core:
        env_cshogi.measure(8, 0.5)  # fills the table of move labels
        for _ in range(args.rounds):
            result = bench_env.measure(GAMES, args.steps, repeats=1)
            ours.append(result["median"])
            shares.append(result["processor_share"])
            theirs.append(env_cshogi.measure(64, args.seconds))
    report = {
        "keisei": statistics.median(ours),
        "cshogi": statistics.median(theirs),
        "ratio": statistics.median(ours) / statistics.median(theirs),
        "rounds": [{"keisei": a, "cshogi": b} for a, b in zip(ours, theirs, strict=True)],
        "processor_share": statistics.median(shares),
        "unit": "steps per second, one thread pinned to one core",
        "core": core,
        "machine": machine(),
        "versions": versions(),
    }
    if args.json:
        print(json.dumps(report))
    else:
        for name in ("keisei", "cshogi", "ratio"):
            print(f"{name:<8} {report[name]:>14,.1f}")
    return 0
