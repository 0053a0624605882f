"""``keisei moves``: the legal moves of a position."""

import argparse
from typing import TYPE_CHECKING, Any

from keisei.cli.errors import UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei moves``."""
    parser = subparsers.add_parser(
        "moves", help="list the legal moves of a position", description=__doc__
    )
    parser.add_argument(
        "sfen", metavar="SFEN", nargs="+", help="the position, or startpos; quotes may be left out"
    )


def run(args: argparse.Namespace) -> int:
    """Print the legal moves in USI notation, sorted, one a line."""
    from keisei.shogi import Position, SfenError

    try:
        position = Position(" ".join(args.sfen))
    except SfenError as error:
        raise UsageError(f"SFEN: {error}") from error
    for move in position.legal_moves():
        print(move)
    return 0
