"""``keisei moves``: list the legal moves of a position."""

import argparse
import json
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
        "line", metavar="SFEN", nargs="+",
        help="a position, or a USI line (startpos moves 7g7f); quotes are not needed",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the legal moves in USI notation, sorted, as lines or JSON."""
    from keisei.shogi import IllegalMoveError, Position, SfenError
    from keisei.shogi.usi import read_line

    try:
        start, moves = read_line(" ".join(args.line))
        position = Position(start)
        for move in moves:
            position.push(move)
    except (SfenError, IllegalMoveError) as error:
        raise UsageError(f"SFEN: {error}") from error
    moves = position.legal_moves()
    if args.json:
        print(json.dumps({"sfen": position.sfen(), "moves": moves}))
    else:
        for move in moves:
            print(move)
    return 0
