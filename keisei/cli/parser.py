"""The parser of all commands: its errors, its help, and flags before the command's name."""

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from keisei.cli.errors import UsageError
from keisei.cli.settings import near_flag
from keisei.hint import did_you_mean

_MESSAGES = {
    r"^argument ": "",
    r"expected one argument": "a value is missing",
    r"the following arguments are required: (.*)": r"\1: missing",
    r"one of the arguments (.*) is required": r"one of \1 is missing",
    r"not allowed with argument": "not allowed with",
    r"ignored explicit argument (.*)": r"takes no value (got \1)",
    r"invalid int value: (.*)": r"must be a whole number (got \1)",
    r"invalid float value: (.*)": r"must be a number (got \1)",
}
"""argparse's messages as patterns, and the text that replaces each of them."""


class Parser(argparse.ArgumentParser):
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
            raise UsageError(f"no such argument: {unknown[0]}{hint or self._see_help()}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        for pattern, text in _MESSAGES.items():
            message = re.sub(pattern, text, message)
        raise UsageError(message + self._see_help())

    def _see_help(self) -> str:
        return f"; see {self.prog} --help"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        names = [str(name) for name in action.choices or ()]
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            hint = did_you_mean(str(value), names) or f", choose from {', '.join(names)}"
            raise UsageError(f"no such {str(action.metavar).lower()}: {value!r}{hint}")
        raise argparse.ArgumentError(action, f"must be one of {', '.join(names)} (got {value!r})")


class Version(argparse.Action):
    """The flag that prints the version.

    ``importlib.metadata`` is imported only when the flag is used, because the import is slow.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, nargs=0)

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> NoReturn:
        import importlib.metadata

        print(parser.prog, importlib.metadata.version("keisei"))
        parser.exit()


def command_first(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Move a command's name, and then its action, before the flags.

    For example, ``--json serve`` becomes ``serve --json``. All other words keep their order. If a
    flag takes a value, the word after the flag is this value, and not a command's name.
    """
    commands = _commands_of(parser)
    if not commands or (words and words[0] in parser._option_string_actions):  # noqa: SLF001
        return list(words)  # for example `keisei --version`
    switches = {flag for flag, action in _flags(parser) if action.nargs in {0, "?"}}
    for at, word in enumerate(words):
        if word == "--":
            break
        before = words[at - 1] if at else ""
        is_value = before.startswith("--") and "=" not in before and before not in switches
        if word in commands and not is_value:
            rest = [*words[:at], *words[at + 1 :]]
            return [word, *command_first(rest, commands[word])]
    return list(words)


def _commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the subcommands by name."""
    for action in parser._actions:  # noqa: SLF001 (argparse has no public way)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def _flags(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Yield all flags of the parser and of its subcommands, with their actions."""
    yield from parser._option_string_actions.items()  # noqa: SLF001
    for command in _commands_of(parser).values():
        yield from _flags(command)
