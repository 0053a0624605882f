"""The entry point ``keisei``: run a subcommand, print its error, return its exit code."""

import argparse
import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from keisei.cli import (
    config,
    doctor,
    evaluate,
    games,
    metrics,
    moves,
    perft,
    process,
    ratings,
    serve,
    streams,
    train,
    usi,
    warmup,
)
from keisei.cli.bench import command as bench
from keisei.cli.errors import CommandError, UsageError
from keisei.cli.settings import near_flag, take_overrides

_COMMANDS = {
    "serve": serve,
    "train": train,
    "warmup": warmup,
    "evaluate": evaluate,
    "usi": usi,
    "games": games,
    "ratings": ratings,
    "metrics": metrics,
    "perft": perft,
    "moves": moves,
    "bench": bench,
    "config": config,
    "doctor": doctor,
}


class _Parser(argparse.ArgumentParser):
    """A parser that refuses abbreviated flags and raises each error as a UsageError."""

    def __init__(self, **options: Any) -> None:
        text = (options.pop("description", None) or "").replace("``", "")  # from a docstring
        super().__init__(**options, description=text, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown arguments here: only the subcommand's parser can suggest similar flags."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            settings = bool(self.get_default("takes_settings"))
            hint = near_flag(unknown[0], self._option_string_actions, settings=settings)
            raise UsageError(f"no such argument: {unknown[0]}{hint}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


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
    parser = _Parser(
        prog="keisei", description="Train a shogi agent by PPO self-play, and watch it learn."
    )
    version = f"keisei {importlib.metadata.version('keisei')}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True
    )
    for module in _COMMANDS.values():
        module.add_parser(commands)
    args = parser.parse_args(words)
    if overrides and not hasattr(args, "takes_settings"):
        raise UsageError(f"--{next(iter(overrides))}: this command takes no settings")
    args.overrides = overrides
    return args
