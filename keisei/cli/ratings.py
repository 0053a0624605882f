"""``keisei ratings``: rate all players of a run by the games of its evaluations."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.errors import CommandError

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei ratings``."""
    parser = subparsers.add_parser("ratings", help="rate all players of a run", description=__doc__)
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of the run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Fit the ratings, store the ratings in the run's database and print them."""
    from keisei.play.ratings import refit
    from keisei.store.directory import check_is_run

    with process.problems():
        check_is_run(args.run)
        ratings = refit(args.run)
    if ratings is None:
        raise CommandError(f"{args.run}: no evaluation has a game yet; run keisei evaluate first")
    report = ratings.to_dict()
    print(json.dumps(report, indent=2) if args.json else table(report))
    return 0


def table(report: dict[str, Any]) -> str:
    """Return the ratings as a table."""
    lines = [f"{'Elo':>7}  {'95 % interval':<17}{'games':>6}  {'score':>5}  player"]
    for line in report["players"]:
        low, high = line["interval"]
        span = f"{round(low):+} to {round(high):+}"
        note = {"one-sided": "  (size unknown)", "prior": "  (no game against the others)"}
        lines.append(
            f"{round(line['elo']):>+7}  {span:<17}{line['games']:>6}  {line['score']:>5.3f}"
            f"  {line['player']}{note.get(line['basis'], '')}"
        )
    low, high = report["first_move_interval"]
    lines.append(
        f"{report['anchor']} is 0. Moving first is worth {round(report['first_move']):+} Elo"
        f" ({round(low):+} to {round(high):+})."
    )
    return "\n".join(lines)
