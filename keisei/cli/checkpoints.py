"""``keisei checkpoints``: list, verify, export, prune and pin the checkpoints of a run."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.confirm import add_yes, confirmed
from keisei.cli.errors import CommandError, require
from keisei.cli.named_run import RUN_HELP, add_root, named_checkpoint, named_run
from keisei.cli.settings import whole
from keisei.cli.tables import count, many, size, table

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from keisei.store.pruning import Checked

_ACTIONS = {
    "list": "list the checkpoints of a run, newest first",
    "verify": "read every byte of every checkpoint, and say which are damaged",
    "export": "write a network as one safetensors file with its settings and a model card",
    "prune": "remove checkpoints that the settings do not keep; the run must not be training",
    "pin": "mark checkpoints, so that they are never removed",
    "unpin": "remove the marks of checkpoints",
}
_DAMAGED = 3
"""Exit code if a checkpoint is damaged."""


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei checkpoints`` and its actions."""
    parser = subparsers.add_parser(
        "checkpoints", help="list, verify, export or prune checkpoints", description=__doc__
    )
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    made = {
        name: actions.add_parser(
            name, help=title, description=f"keisei checkpoints {name}: {title}."
        )
        for name, title in _ACTIONS.items()
    }
    for name in ("list", "prune", "pin", "unpin"):
        made[name].add_argument("run", metavar="RUN", help=RUN_HELP)
    for name in ("pin", "unpin"):
        made[name].add_argument(
            "steps", metavar="STEP", type=whole, nargs="+", help="step of a checkpoint"
        )
    which = "a run, a checkpoint's folder, or RUN/STEP"
    made["verify"].add_argument("names", metavar="RUN|CHECKPOINT", nargs="+", help=which)
    made["export"].add_argument(
        "name", metavar="RUN|CHECKPOINT", help=f"{which}; a run means its newest valid checkpoint"
    )
    _add_export(made["export"])
    _add_prune(made["prune"])
    for name in ("list", "verify"):
        made[name].add_argument("--json", action="store_true", help="print JSON")
    for action in made.values():
        add_root(action)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="new folder (default: <run>-<step>, here)"
    )
    parser.add_argument(
        "--license",
        metavar="ID",
        default="unknown",
        help="licence of the network, as an SPDX identifier such as MIT (default: unknown)",
    )
    parser.add_argument("--title", help="title of the model card (default: the folder's name)")


def _add_prune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep",
        metavar="N",
        type=whole,
        help="number of newest checkpoints to keep (default: the run's run.checkpoints_kept)",
    )
    parser.add_argument(
        "--every",
        metavar="STEPS",
        type=whole,
        help="steps between two older checkpoints that are kept too; 0: none are "
        "(default: the run's run.checkpoints_every_steps)",
    )
    add_yes(parser)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    actions = {
        "list": _list,
        "verify": _verify,
        "export": _export,
        "prune": _prune,
        "pin": _pin,
        "unpin": _pin,
    }
    with process.problems():
        return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from keisei.cli.run_report import checkpoints, checkpoints_text

    folder = named_run(args.run, args)
    rows = checkpoints(folder)
    if args.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print(checkpoints_text(rows))
    else:
        print(f"{folder}: no checkpoint yet", file=sys.stderr)
    return 0


def _verify(args: argparse.Namespace) -> int:
    checked: list[Checked] = []
    for name in args.names:
        checked += _check(named_checkpoint(name, args))
    if args.json:
        print(json.dumps([_row(found) for found in checked], indent=2))
    else:
        for found in checked:
            print(f"invalid  {found.error}" if found.error else f"valid    {found.path}")
    return _DAMAGED if any(found.error for found in checked) else 0


def _check(path: Path) -> "list[Checked]":
    """Read every byte of a checkpoint, or of all checkpoints of a run. Raises CommandError."""
    from keisei.store.layout import SETTINGS_FILE
    from keisei.store.pruning import check, check_all

    if not (path / SETTINGS_FILE).exists():
        return [check(path)]
    found = check_all(path)
    if not found:
        raise CommandError(f"{path}: no checkpoint yet")
    return found


def _row(found: "Checked") -> dict[str, Any]:
    return {
        "path": str(found.path),
        "valid": found.error is None,
        "problem": found.error and str(found.error),
    }


def _export(args: argparse.Namespace) -> int:
    from keisei.store import find_checkpoint
    from keisei.store.card import model_card
    from keisei.store.checkpoints import WEIGHTS
    from keisei.store.export import read_weights, scores_of, write_export

    source, refused = find_checkpoint(named_checkpoint(args.name, args), only=WEIGHTS)
    for error in refused:
        print(f"keisei: refused: {error}", file=sys.stderr)
    network = read_weights(source)
    out: Path = args.out or Path(f"{network.state['run']}-{network.step}")
    card = model_card(
        network,
        scores_of(source, network.step),
        title=args.title or out.name,
        folder=out.name,
        license=args.license,
    )
    write_export(network, card, out)
    print(out)
    return 0


def _prune(args: argparse.Namespace) -> int:
    from keisei.store import read_settings
    from keisei.store.lock import locked
    from keisei.store.pruning import removable, remove
    from keisei.store.runs import disk_use

    folder = named_run(args.run, args)
    chosen = read_settings(folder).run
    if args.keep is not None:
        require("keep", args.keep, args.keep >= 1, "at least 1")
        chosen = chosen.model_copy(update={"checkpoints_kept": args.keep})
    if args.every is not None:
        require("every", args.every, args.every >= 0, "at least 0")
        chosen = chosen.model_copy(update={"checkpoints_every_steps": args.every})
    with locked(folder):
        paths = removable(folder, chosen)
        if not paths:
            print(f"{folder}: no checkpoint to remove")
            return 0
        sizes = [disk_use(path) for path in paths]
        rows = [
            (count(int(path.name)), size(each)) for path, each in zip(paths, sizes, strict=True)
        ]
        print(table([("step", "size"), *rows], right={0, 1}))
        if not confirmed(f"remove {many(len(paths), 'checkpoint')} ({size(sum(sizes))})?", args):
            return 1
        remove(paths)
    print(f"removed {many(len(paths), 'checkpoint')}, {size(sum(sizes))}")
    return 0


def _pin(args: argparse.Namespace) -> int:
    from keisei.store import RunReader
    from keisei.store.retention import pin, unpin

    folder = named_run(args.run, args)
    paths = {row["step"]: Path(row["path"]) for row in RunReader(folder).checkpoints()}
    missing = [step for step in args.steps if step not in paths]
    if missing:
        known = ", ".join(map(str, paths)) or "none"
        raise CommandError(f"{folder}: no checkpoint of step {missing[0]}; it has {known}")
    for step in args.steps:
        (pin if args.action == "pin" else unpin)(paths[step])
    return 0
