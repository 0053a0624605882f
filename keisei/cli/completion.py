"""``keisei completion``: print a script with which a shell completes words."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_HOW = """\
Save the output as the file in which your shell looks for it:

  bash   ~/.local/share/bash-completion/completions/keisei
  zsh    _keisei, in a folder that $fpath contains
  fish   ~/.config/fish/completions/keisei.fish

Example: keisei completion fish > ~/.config/fish/completions/keisei.fish
"""

_PREAMBLE = {
    "bash": """_keisei_settings_files() {
  compgen -W "NAMES" -- "$1"; compgen -f -X "!*.toml" -- "$1"; compgen -d -- "$1"
}""",
    "zsh": "_keisei_settings_files() { compadd NAMES; _files -g '*.toml' }",
    "fish": """function _keisei_settings_files
  printf '%s\\n' NAMES; __fish_complete_path (commandline -ct)
end""",
}


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei completion``."""
    parser = subparsers.add_parser(
        "completion", help="print a completion script for a shell", description=__doc__,
        epilog=_HOW, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish"
    )


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    for parser in _leaves(args.parser):
        if parser.get_default("takes_settings"):
            _add_settings(parser)
        for action in parser._actions:  # noqa: SLF001 (argparse has no public way)
            _complete_paths(action)
    print(shtab.complete(args.parser, args.shell))
    return 0


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands and actions."""
    yield parser
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                yield from _leaves(child)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting, for completion only: ``take_overrides`` reads the flags."""
    from keisei.config import Settings

    for section, field in Settings.model_fields.items():
        for key, setting in getattr(field.annotation, "model_fields", {}).items():
            text = (setting.description or "").replace("%", "%%")
            words = [word for word in get_args(setting.annotation) if isinstance(word, str)]
            parser.add_argument(f"--{section}.{key}", choices=words or None, help=text)


def _complete_paths(action: argparse.Action) -> None:
    """If the argument is a file, folder or shipped config, make the shell complete its name."""
    import shtab

    match action.metavar:
        case "FILE" if "--config" in action.option_strings:
            how: Any = _settings_files()
        case "FILE" | "GAMES":
            how = shtab.FILE
        case "DIR" | "RUN_DIR|RUN_ROOT" | "RUN" | "CHECKPOINT" | "RUN|CHECKPOINT":
            how = shtab.DIRECTORY
        case _:
            return
    action.complete = how  # type: ignore[attr-defined]  # shtab reads this attribute


def _settings_files() -> dict[str, Any]:
    """Return how each shell completes ``--config``: the shipped names and TOML files."""
    from keisei.resources import shipped_configs

    names = " ".join(shipped_configs())
    function = "_keisei_settings_files"
    return {
        "bash": function, "zsh": function, "fish": f"({function})",
        "preamble": {shell: text.replace("NAMES", names) for shell, text in _PREAMBLE.items()},
    }  # fmt: skip
