"""``keisei perft``: count sequences of legal moves, in order to check the move generator."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from keisei.cli.errors import UsageError
from keisei.cli.settings import whole

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from keisei.shogi import Position


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei perft``."""
    parser = subparsers.add_parser(
        "perft", help="count sequences of legal moves", description=__doc__
    )
    parser.add_argument("depth", metavar="DEPTH", type=whole, help="number of moves in a sequence")
    parser.add_argument(
        "--sfen", default="startpos", help="start position, as an SFEN (default: %(default)s)"
    )
    parser.add_argument(
        "--divide", action="store_true", help="also print the number for each first move"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the number of sequences; with ``--divide``, also the number for each first move."""
    from keisei.shogi import Position, SfenError

    if args.depth < 0:
        raise UsageError(f"DEPTH: must be 0 or more (got {args.depth})")
    if args.divide and args.depth == 0:
        raise UsageError("--divide: needs a DEPTH of 1 or more")
    try:
        position = Position(args.sfen)
    except SfenError as error:
        raise UsageError(f"--sfen: {error}") from error
    counts = _divide(position, args.depth, show=not args.json) if args.divide else None
    nodes = position.perft(args.depth) if counts is None else sum(counts.values())
    if args.json:
        divide = {} if counts is None else {"divide": counts}
        report = {"sfen": position.sfen(), "depth": args.depth, "nodes": nodes, **divide}
        print(json.dumps(report))
    else:
        print(nodes)
    return 0


def _divide(position: "Position", depth: int, *, show: bool) -> dict[str, int]:
    """Count the sequences by first move. With ``show``, print each count as soon as it is known."""
    counts = {}
    for move in position.legal_moves():
        after = position.copy()
        after.push(move)
        counts[move] = after.perft(depth - 1)
        if show:
            print(f"{move}: {counts[move]}", flush=True)
    return counts
