"""``keisei bench``: measure the speed of each part of Keisei on this machine."""

import argparse
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.bench import contention, env, loop, match, search, train

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_BENCHES = {
    "env": env,
    "train": train,
    "loop": loop,
    "match": match,
    "search": search,
    "contention": contention,
}
_PACKAGES = ("keisei", "torch", "numba", "numpy")


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei bench ...``."""
    parser = subparsers.add_parser(
        "bench", help="measure speed on this machine", description=__doc__
    )
    benches = parser.add_subparsers(
        title="benchmarks", dest="bench", metavar="BENCH", required=True
    )
    for name, module in _BENCHES.items():
        title = (module.__doc__ or "").partition("\n")[0]
        short = title[:1].lower() + title[1:].removesuffix(".")
        bench = benches.add_parser(name, help=short, description=title)
        module.add_arguments(bench)
        bench.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Run a benchmark. Print the results, the machine's data and the packages' versions."""
    with process.problems():
        results = _BENCHES[args.bench].run(args)
    report = results | {"machine": machine(), "versions": versions()}
    if args.json:
        print(json.dumps(report))
    else:
        print("\n".join(_lines(report)))
    return 0


def machine() -> dict[str, Any]:
    """Return the processor, the number of usable cores, the memory in GiB, and the system."""
    import psutil

    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and the main packages. In a git checkout, add the commit."""
    import importlib.metadata

    found = {"python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    commit = _git("rev-parse", "--short", "HEAD")
    if commit:
        found["commit"] = commit + ("+changes" if _git("status", "--porcelain") else "")
    return found


def _processor() -> str:
    """Return the processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # the system is not Linux
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    """Return the output of a git command in this checkout, or "" if the command fails."""
    root = Path(__file__).parents[3]
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _lines(tree: dict[str, Any], indent: str = "") -> list[str]:
    """Return a line for each value. A nested dictionary's lines are indented, below its key."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            text = f"{value:,.4g}" if isinstance(value, float) else value
            lines.append(f"{indent}{key:<{28 - len(indent)}} {text}")
    return lines
