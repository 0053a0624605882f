"""``keisei mate``: search positions for a mate of any length, by checks alone."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli.errors import UsageError, require
from keisei.cli.settings import whole

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from keisei.shogi import Position, Solution


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei mate``."""
    parser = subparsers.add_parser(
        "mate", help="find a mate of any length", description=__doc__,
        epilog="The exit code is 0 if every position is decided, and 1 if a limit was reached.",
    )  # fmt: skip
    parser.add_argument(
        "line", metavar="SFEN|FILE", nargs="+",
        help="a position, or a USI line (startpos moves 7g7f); quotes are not needed. Or files: "
        "each line is a position; a KIF, KI2 or CSA file gives the start position of each game",
    )  # fmt: skip
    parser.add_argument(
        "--nodes", metavar="N", type=whole, default=1_000_000,
        help="most positions to visit in one search (default: 1,000,000)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", metavar="S", type=float, help="longest time of one search (default: no limit)"
    )
    parser.add_argument(
        "--memory", metavar="MIB", type=whole, default=64,
        help="memory of the search in MiB (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print a JSON object for each position")


def run(args: argparse.Namespace) -> int:
    """Search each position and print the answer."""
    from keisei.shogi import solve_mate

    require("nodes", args.nodes, args.nodes >= 1, "must be 1 or more")
    require("memory", args.memory, 1 <= args.memory <= 1 << 20, "must be from 1 to 1,048,576")
    if args.seconds is not None:
        require("seconds", args.seconds, args.seconds > 0, "must be more than 0")
    answers = []
    for place, position in _read(args.line):
        answer = solve_mate(
            position, nodes=args.nodes, seconds=args.seconds, memory_mib=args.memory
        )
        answers.append(answer)
        report = _as_json if args.json else _as_line if place else _as_text
        print(report(place, position, answer), flush=True)
    if len(answers) > 1 and not args.json:
        print(_summary(answers))
    return int(any(answer.verdict == "unknown" for answer in answers))


def _read(words: list[str]) -> "list[tuple[str, Position]]":
    """Return positions and their places; the place of a position in the command is empty."""
    from keisei.records import RecordError
    from keisei.records.files import FORMATS
    from keisei.records.positions import read_position, read_positions

    files = [Path(word) for word in words]
    if any(file.is_file() or file.suffix.lower() in FORMATS for file in files):
        try:
            return [found for file in files for found in read_positions(file)]
        except RecordError as error:
            raise UsageError(str(error)) from error
    try:
        return [("", read_position(" ".join(words)))]
    except ValueError as error:
        raise UsageError(f"SFEN|FILE: no such file, and not a position: {error}") from error


def _as_json(place: str, position: "Position", answer: "Solution") -> str:
    report = {
        **({"place": place} if place else {}),
        "sfen": position.sfen(),
        "verdict": answer.verdict,
        "moves": list(answer.moves),
        "length": answer.length,
        "shortest": answer.shortest,
        "nodes": answer.nodes,
        "seconds": round(answer.seconds, 6),
    }
    return json.dumps(report, ensure_ascii=False)


def _as_line(place: str, position: "Position", answer: "Solution") -> str:
    return f"{place}: {_verdict(answer)}  {' '.join(answer.moves)}".rstrip()


def _as_text(place: str, position: "Position", answer: "Solution") -> str:
    from keisei.records.notation import in_japanese

    lines = [_verdict(answer)]
    if answer.moves:
        lines += [" ".join(answer.moves), in_japanese(position.sfen(), answer.moves)]
    return "\n".join([*lines, f"{answer.nodes:,} positions in {answer.seconds:.3f} s"])


def _verdict(answer: "Solution") -> str:
    if answer.verdict == "none":
        return "no mate by checks alone"
    if answer.verdict == "unknown":
        return "unknown: a limit was reached"
    note = "" if answer.shortest else ", perhaps not the shortest"
    return f"mate in {answer.length}{note}"


def _summary(answers: "list[Solution]") -> str:
    counts = {name: sum(a.verdict == name for a in answers) for name in ("mate", "none", "unknown")}
    nodes, seconds = sum(a.nodes for a in answers), sum(a.seconds for a in answers)
    return (
        f"{len(answers):,} positions: {counts['mate']:,} with a mate, {counts['none']:,} without, "
        f"{counts['unknown']:,} unknown; {nodes:,} nodes in {seconds:.1f} s"
    )
