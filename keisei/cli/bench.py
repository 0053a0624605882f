"""``keisei bench``: measure the environment, training, the loop, matches on this machine."""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import bench_contention, bench_env, bench_loop, bench_match, bench_train, process

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_BENCHES = {
    "env": bench_env,
    "train": bench_train,
    "loop": bench_loop,
    "match": bench_match,
    "contention": bench_contention,
}
_PACKAGES = ("keisei", "torch", "numba", "numpy")


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei bench ...``."""
    parser = subparsers.add_parser("bench", help="measure this machine", description=__doc__)
    benches = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    for name, module in _BENCHES.items():
        title = (module.__doc__ or "").partition("\n")[0]
        bench = benches.add_parser(name, help=title, description=title)
        module.add_arguments(bench)
        bench.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run a benchmark and print what it measured, with the machine and the versions."""
    with process.problems():
        found = _BENCHES[args.bench].run(args)
    report = found | {"machine": machine(), "versions": versions()}
    if args.json:
        print(json.dumps(report))
    else:
        print("\n".join(_lines(report)))
    return 0


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, and memory in GiB."""
    import psutil

    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of what the figures depend on; the commit where there is one."""
    found = {"python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    commit = _git("rev-parse", "--short", "HEAD")
    if commit:
        found["commit"] = commit + ("+changes" if _git("status", "--porcelain") else "")
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    """What git says of the checkout that this file is in; empty when it is in none."""
    root = Path(__file__).parents[2]
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def _lines(tree: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            text = f"{value:,.4g}" if isinstance(value, float) else value
            lines.append(f"{indent}{key:<{28 - len(indent)}} {text}")
    return lines
