"""Find the runs that the arguments of a command name, by id or by path."""

import argparse
from pathlib import Path

from keisei.cli import settings
from keisei.cli.errors import UsageError

RUN_HELP = "directory of a run, or the id of a run in run.root (default: runs/)"


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the folder of the runs: ``--run.root`` and ``--config``."""
    parser.add_argument(
        "--config", action="append", metavar="FILE", help="TOML file with the setting run.root"
    )
    parser.set_defaults(takes_settings=True)


def root(args: argparse.Namespace) -> Path:
    """Return the setting ``run.root``. Raises UsageError."""
    if others := args.overrides.keys() - {"run.root"}:
        raise UsageError(f"--{min(others)}: this command uses only the setting run.root")
    return settings.load(args).run.root


def named_run(name: str, args: argparse.Namespace) -> Path:
    """Return the folder of the run that ``name`` names. Raises RunError, UsageError."""
    from keisei.store.runs import find_run

    # A path needs no settings, so a wrong setting does not matter.
    path = Path(name)
    return find_run(name, path.parent if path.is_absolute() else root(args))


def named_checkpoint(name: str, args: argparse.Namespace) -> Path:
    """Return the folder of the run or checkpoint that ``name`` names.

    ``name`` is a path, the id of a run, or ``RUN/STEP``. Raises RunError, UsageError.
    """
    from keisei.store.layout import CHECKPOINTS, checkpoint_name
    from keisei.store.manifest import MANIFEST

    if (path := Path(name)).is_dir() and (path / MANIFEST).exists():
        return path
    run, _, step = name.rstrip("/").rpartition("/")
    if run and step.isdecimal() and not path.exists():
        return named_run(run, args) / CHECKPOINTS / checkpoint_name(int(step))
    return named_run(name, args)
