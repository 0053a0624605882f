"""``keisei metrics``: print the metrics of a run as a table, CSV or JSON."""

import argparse
import csv
import json
import math
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.errors import CommandError, UsageError
from keisei.hint import did_you_mean

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Sequence

    from keisei.store import RunReader

_TABLE_ROWS = 20
TABLE_KEYS = (
    "train/loss_policy",
    "train/loss_value",
    "train/entropy",
    "games/length",
    "games/decisive",
    "eval/score",
)
_ALWAYS = ("step", "iteration", "time")

Row = dict[str, Any]
"""An iteration's ``step``, ``iteration``, ``time`` (seconds since 1970) and metrics.

A metric can be NaN.
"""


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei metrics``."""
    parser = subparsers.add_parser(
        "metrics", help="print the metrics of a run", description=__doc__
    )
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="directory of a run, ended or still training"
    )
    parser.add_argument(
        "--keys",
        metavar="NAME,NAME",
        help="metrics to print (default: the most important ones in the table, otherwise all)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print every iteration, as CSV")
    form.add_argument(
        "--json", action="store_true", help="print every iteration, as one JSON object of columns"
    )


def run(args: argparse.Namespace) -> int:
    """Print the metrics."""
    from keisei.store import RunReader
    from keisei.store.directory import check_is_run

    with process.problems():
        check_is_run(args.run)
        reader = RunReader(args.run)
        known = reader.metric_names()
        keys = chosen_keys(args.keys, known)
        if not (args.keys or args.csv or args.json):
            keys = [key for key in TABLE_KEYS if key in known] or known[: len(TABLE_KEYS)]
        rows = _rows(reader, keys)
    if not rows:
        raise CommandError(f"{args.run}: no metrics yet; wait for the first iteration to end")
    if args.csv:
        writer = csv.DictWriter(sys.stdout, [*_ALWAYS, *keys], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    elif args.json:
        print(json.dumps(_columns(rows, [*_ALWAYS, *keys])))
    else:
        print(_table(rows, keys))
        others = ", ".join(key for key in known if key not in keys)
        if others and not args.keys:
            print(textwrap.fill(f"More metrics, for --keys: {others}.", 80, break_on_hyphens=False))
    return 0


def chosen_keys(text: str | None, known: list[str]) -> list[str]:
    """Return the metrics that ``text`` names, or all if ``text`` is None. Raises UsageError."""
    if text is None:
        return known
    keys = [key.strip() for key in text.split(",")]
    for key in keys:
        if key not in known:
            hint = did_you_mean(key, known) or f"; the run has {', '.join(known) or 'none yet'}"
            raise UsageError(f"--keys: no metric {key!r}{hint}")
    return list(dict.fromkeys(keys))


def _rows(reader: "RunReader", keys: "Sequence[str]") -> list[Row]:
    """Return all iterations that have a value for at least one of ``keys``, oldest first."""
    by_iteration: dict[int, Row] = {}
    for key in keys:  # reading all series at once would need more memory
        series = reader.metrics([key], max_points=sys.maxsize)["series"][key]
        points = (series[name] for name in ("iteration", "step", "time", "value"))
        for iteration, step, time, value in zip(*points, strict=True):
            row = by_iteration.setdefault(
                iteration, {"step": step, "iteration": iteration, "time": time}
            )
            row[key] = math.nan if value is None else value
    return [by_iteration[iteration] for iteration in sorted(by_iteration)]


def _columns(rows: list[Row], names: list[str]) -> dict[str, list[float | None]]:
    """Return the columns by name. A column has None for a missing or non-finite value."""
    return {
        name: [value if math.isfinite(value := row.get(name, math.nan)) else None for row in rows]
        for name in names
    }


def _table(rows: list[Row], keys: list[str]) -> str:
    """Return a table of at most ``_TABLE_ROWS`` iterations, spread evenly over the run."""
    last, gaps = len(rows) - 1, max(1, min(len(rows), _TABLE_ROWS) - 1)
    shown = [rows[place] for place in sorted({last * gap // gaps for gap in range(gaps + 1)})]
    names = ["step", "iteration", *keys]
    cells = [[name.rpartition("/")[part] for name in names] for part in (0, 2)]
    cells += [[_cell(row[name]) if name in row else "" for name in names] for row in shown]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    if len(shown) < len(rows):
        lines.append(f"{len(shown)} of {len(rows):,} iterations; --csv and --json print all.")
    return "\n".join(lines)


def _cell(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
