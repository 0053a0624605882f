"""The entry point ``keisei``: run a subcommand, print its error, return its exit code."""

import argparse
import sys
from collections.abc import Sequence

from keisei.cli import (
    analyse,
    checkpoints,
    completion,
    config,
    doctor,
    evaluate,
    games,
    mate,
    metrics,
    moves,
    perft,
    process,
    ratings,
    runs,
    serve,
    streams,
    train,
    usi,
    warmup,
    watch,
)
from keisei.cli.bench import command as bench
from keisei.cli.errors import CommandError, UsageError
from keisei.cli.parser import Parser, Version, command_first
from keisei.cli.settings import take_overrides

_COMMANDS = {
    "serve": serve,
    "train": train,
    "watch": watch,
    "warmup": warmup,
    "evaluate": evaluate,
    "usi": usi,
    "analyse": analyse,
    "runs": runs,
    "checkpoints": checkpoints,
    "games": games,
    "ratings": ratings,
    "metrics": metrics,
    "perft": perft,
    "moves": moves,
    "mate": mate,
    "bench": bench,
    "config": config,
    "doctor": doctor,
    "completion": completion,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. ``keisei.cli.errors`` lists the exit codes."""
    if argv is None:
        streams.set_up()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except streams.OutputLost as error:
        streams.drop_output(sys.stdout)
        print(f"keisei: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the program that read stdout has ended, for example `head`
        streams.drop_output(sys.stdout)
        return 0
    return code


def _run(argv: Sequence[str]) -> int:
    try:
        args = _parse(argv)
        process.keep_kernels()
        code: int = _COMMANDS[args.command].run(args)
    except streams.OutputLost:
        raise
    except CommandError as error:
        for line in str(error).splitlines():
            print(f"keisei: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    words, overrides = take_overrides(argv)
    parser = Parser(
        prog="keisei", description="Train a shogi agent by PPO self-play, and watch it learn."
    )
    parser.add_argument("--version", action=Version, help="print the version and exit")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True
    )
    for module in _COMMANDS.values():
        module.add_parser(commands)
    parser.set_defaults(parser=parser)
    args = parser.parse_args(command_first(words, parser))
    if overrides and not hasattr(args, "takes_settings"):
        raise UsageError(f"--{next(iter(overrides))}: this command takes no settings")
    args.overrides = overrides
    return args
