"""The flags for settings and for the run, such as ``--config``, ``--ppo.gamma`` and ``--run``."""

import argparse
import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keisei.cli.errors import UsageError
from keisei.resources import ResourceError, config_file, player_folder

if TYPE_CHECKING:
    from keisei.config import Settings
    from keisei.settings_sources import Layer

_SHORT = {"device": "device", "host": "server.host", "port": "server.port"}


def take_overrides(argv: Sequence[str]) -> tuple[list[str], dict[str, object]]:
    """Separate ``--section.key value`` and ``--section.key=value`` from the other arguments.

    Return the other arguments, and a dictionary from dotted keys to values. Raises UsageError if
    such a flag has no value.
    """
    rest: list[str] = []
    overrides: dict[str, object] = {}
    words = iter(argv)
    for word in words:
        key, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or "." not in key:
            rest.append(word)
            continue
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                raise UsageError(f"--{key}: a value is missing")
        overrides[key.replace("-", "_")] = value
    return rest, overrides


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose settings."""
    group = parser.add_argument_group(
        "settings", "--section.key VALUE sets any setting; `keisei config show` lists all settings."
    )
    group.add_argument(
        "--config",
        action="append",
        metavar="FILE",
        help="TOML file, or the name of a shipped file (quickstart, base, h100); repeat the flag for "
        "more files; later files override earlier files (default: the built-in values = quickstart)",
    )
    group.add_argument("--device", metavar="NAME", help="device: auto, cpu, cuda or cuda:N")
    parser.set_defaults(takes_settings=True)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the run."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--run", metavar="DIR", type=Path, help="directory of the run (default: new, in runs/)"
    )
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        choices=["auto"],
        help="continue the run in --run, or the newest run that has a checkpoint; auto: create the "
        "run if it does not exist, so that the same command starts and continues a run",
    )
    start.add_argument(
        "--init",
        metavar="RUN|CHECKPOINT",
        type=player,
        help="start a new run from the weights of a checkpoint, of a run's newest checkpoint, or of "
        "the network that ships with Keisei (shipped)",
    )


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the server's address."""
    group = parser.add_argument_group("server")
    group.add_argument("--host", metavar="HOST", help="address to listen on (server.host)")
    group.add_argument(
        "--port", metavar="PORT", help="port to listen on; 0 = any free port (server.port)"
    )


def player(text: str) -> Path:
    """Return the folder of the run or checkpoint that a flag names. Raises ArgumentTypeError."""
    try:
        return player_folder(text)
    except ResourceError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def load(args: argparse.Namespace) -> "Settings":
    """Load the settings from defaults, files, environment and flags. Raises UsageError."""
    return from_layers(read_layers(args))


def read_layers(args: argparse.Namespace) -> "list[Layer]":
    """Read files, environment and flags, without the defaults. Raises UsageError."""
    from keisei.config import Settings
    from keisei.settings_sources import SettingsError, read_layers

    flags = {key: getattr(args, name) for name, key in _SHORT.items() if getattr(args, name, None)}
    try:
        files = [_find(name) for name in args.config or []]
        return read_layers(Settings, files, args.overrides | flags)
    except SettingsError as error:
        raise UsageError(str(error)) from None


def from_layers(layers: "list[Layer]") -> "Settings":
    """Return the settings of all sources together. Raises UsageError."""
    from keisei.config import Settings, SettingsError

    try:
        return Settings.from_layers(layers)
    except SettingsError as error:
        raise UsageError(str(error)) from None


def check_run(args: argparse.Namespace, chosen: "Settings") -> None:
    """Check that --resume finds a run and --init finds weights, before the slow import of torch.

    Raises RunError, CheckpointError.
    """
    from keisei.store.checkpoints import check_holds_weights
    from keisei.store.directory import RunDirectory, check_is_run

    if args.resume is True:
        check_is_run(args.run or RunDirectory.newest(chosen.run.root)[0])
    if args.init:
        check_holds_weights(args.init)


def _find(name: str) -> Path:
    """Return the path of a settings file. ``name`` is a path or a shipped file's name."""
    path, shipped = Path(name), ""
    if not path.is_file() and path.parent in {Path(), Path("configs")}:
        try:
            return config_file(path.name)
        except ResourceError as error:
            shipped = f", and {error}"
    if not path.exists():
        raise UsageError(f"{name}: no such file or folder{shipped}")
    return path


def whole(text: str) -> int:
    """Read a whole number such as ``1000`` or ``1e3``. This function is for argparse's ``type``."""
    from keisei.settings_sources import parse_whole_number

    try:
        return parse_whole_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} (got {text!r})") from None


def near_flag(word: str, flags: Iterable[str], *, settings: bool) -> str:
    """Return a hint such as ``, did you mean --port?`` for ``word``; "" if no flag is similar.

    ``flags`` are the flags of the command. If ``settings`` is True, the hint can also name a
    setting: for example, the hint for ``--gamma`` is ``--ppo.gamma``.
    """
    # The keys have no dashes, because leading dashes would make all flags similar.
    flag_of = {flag.lstrip("-"): flag for flag in flags}
    setting_of = _settings_by_key() if settings else {}
    name = word.lstrip("-").partition("=")[0][:100]  # the search takes too long for longer names
    key = name.replace("-", "_")
    if settings and name in _sections():
        meant = f"--{name}.KEY"
    elif key in setting_of:
        meant = setting_of[key]
    elif near := difflib.get_close_matches(name, flag_of, 1):
        meant = flag_of[near[0]]
    elif near := difflib.get_close_matches(key, setting_of, 1):
        meant = setting_of[near[0]]
    else:
        return ""
    return f", did you mean {meant}?"


def _sections() -> set[str]:
    """Return the names of the sections of the settings."""
    from keisei.config import Settings

    fields = Settings.model_fields.items()
    return {name for name, field in fields if hasattr(field.annotation, "model_fields")}


def _settings_by_key() -> dict[str, str]:
    """Return each key's flags, such as ``--run.steps or --schedule.steps`` for ``steps``."""
    from keisei.config import Settings

    found: dict[str, list[str]] = {}
    for section, field in Settings.model_fields.items():
        for key in getattr(field.annotation, "model_fields", ()):
            found.setdefault(key, []).append(f"--{section}.{key}")
    return {key: " or ".join(flags) for key, flags in found.items()}
