"""``keisei perft``: count sequences of legal moves, in order to check the move generator."""

import argparse
from typing import TYPE_CHECKING, Any

from keisei.cli.errors import UsageError
from keisei.cli.settings import whole

if TYPE_CHECKING:
    from argparse import _SubParsersAction


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


def run(args: argparse.Namespace) -> int:
    """Print the number of sequences; with ``--divide``, first a number for each first move."""
    from keisei.shogi import Position, SfenError

    if args.depth < 0:
        raise UsageError(f"DEPTH: must be 0 or more (got {args.depth})")
    if args.divide and args.depth == 0:
        raise UsageError("--divide: needs a DEPTH of 1 or more")
    try:
        position = Position(args.sfen)
    except SfenError as error:
        raise UsageError(f"--sfen: {error}") from error
    if not args.divide:
        print(position.perft(args.depth))
        return 0
    nodes = 0
    for move in position.legal_moves():
        after = position.copy()
        after.push(move)
        count = after.perft(args.depth - 1)
        nodes += count
        print(f"{move}: {count}", flush=True)
    print(nodes)
    return 0
