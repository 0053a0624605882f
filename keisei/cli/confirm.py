"""Ask a person at the terminal before files are removed."""

import argparse
import sys

from keisei.cli.errors import UsageError


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add the flag ``--yes``."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def confirmed(question: str, args: argparse.Namespace) -> bool:
    """Return whether ``--yes`` was given, or the person answers the question with yes.

    Raises UsageError if nobody can answer, because stdin is not a terminal.
    """
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("--yes: missing; without a terminal, nobody can answer the question")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if answer.strip().lower() in {"y", "yes"}:
        return True
    print("nothing was removed", file=sys.stderr)
    return False
