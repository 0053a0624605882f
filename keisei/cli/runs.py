"""``keisei runs``: list, show, compare and delete runs, and free disk space."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.confirm import add_yes, confirmed
from keisei.cli.errors import EnvironmentProblem
from keisei.cli.named_run import RUN_HELP, add_root, named_run, root
from keisei.cli.tables import many, size, table

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from keisei.store.garbage import Garbage

_ACTIONS = {
    "list": "list all runs in run.root, newest first",
    "show": "print everything about one run",
    "compare": "compare runs: settings that differ, curves, scores, ratings",
    "delete": "delete runs with everything in their folders",
    "gc": "remove what no run needs: leftovers of crashes, uploaded W&B data, empty runs",
}


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei runs`` and its actions."""
    parser = subparsers.add_parser("runs", help="list, compare or delete runs", description=__doc__)
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    made = {
        name: actions.add_parser(name, help=title, description=f"keisei runs {name}: {title}.")
        for name, title in _ACTIONS.items()
    }
    made["show"].add_argument("run", metavar="RUN", help=RUN_HELP)
    made["compare"].add_argument("runs", metavar="RUN", nargs="+", help=RUN_HELP)
    made["compare"].add_argument(
        "--keys", metavar="NAME,NAME", help="metrics to draw (default: the most important ones)"
    )
    made["delete"].add_argument("runs", metavar="RUN", nargs="+", help=RUN_HELP)
    for action in made.values():
        add_root(action)
    for name in ("list", "show", "compare"):
        made[name].add_argument("--json", action="store_true", help="print JSON")
    made["gc"].add_argument(
        "--json", action="store_true", help="print what can be removed as JSON, and remove nothing"
    )
    for name in ("delete", "gc"):
        add_yes(made[name])


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    actions = {"list": _list, "show": _show, "compare": _compare, "delete": _delete, "gc": _gc}
    with process.problems():
        return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from keisei.cli.run_report import list_text, summary
    from keisei.store.runs import run_folders

    folder = root(args)
    runs = [summary(path) for path in run_folders(folder)]
    if args.json:
        print(json.dumps(runs, indent=2))
    elif runs:
        print(list_text(runs))
    else:
        print(f"no runs in {folder}", file=sys.stderr)
    return 0


def _show(args: argparse.Namespace) -> int:
    from keisei.cli.run_report import report, report_text

    found = report(named_run(args.run, args))
    print(json.dumps(found, indent=2) if args.json else report_text(found))
    return 0


def _compare(args: argparse.Namespace) -> int:
    from keisei.cli.run_comparison import compare, comparison_text

    found = compare([named_run(name, args) for name in args.runs], args.keys)
    print(json.dumps(found, indent=2) if args.json else comparison_text(found))
    return 0


def _delete(args: argparse.Namespace) -> int:
    from keisei.store.lock import locked
    from keisei.store.runs import delete_run, disk_use

    folders = list(dict.fromkeys(named_run(name, args).resolve() for name in args.runs))
    for folder in folders:
        with locked(folder):  # a run in use is refused before the question
            pass
    total = 0
    for folder in folders:
        total += (used := disk_use(folder))
        print(f"{folder}: {size(used)}", file=sys.stderr)
    if not confirmed(f"delete {many(len(folders), 'run')} ({size(total)})?", args):
        return 1
    for folder in folders:
        delete_run(folder)
    print(f"deleted {many(len(folders), 'run')}, {size(total)}")
    return 0


def _gc(args: argparse.Namespace) -> int:
    from keisei.store.garbage import find_garbage

    folder = root(args)
    found = find_garbage(folder)
    total = sum(item.bytes for item in found)
    if args.json:
        rows = [
            {"path": str(item.path), "reason": item.reason, "bytes": item.bytes} for item in found
        ]
        print(json.dumps(rows, indent=2))
        return 0
    if not found:
        print(f"nothing to remove in {folder}")
        return 0
    rows_text = [(size(item.bytes), str(item.path), item.reason) for item in found]
    print(table(rows_text, right={0}))
    if not confirmed(f"remove {many(len(found), 'path')} ({size(total)})?", args):
        return 1
    return _remove(found)


def _remove(found: "list[Garbage]") -> int:
    """Remove the garbage; print what was freed, and what can't be removed."""
    from keisei.store import RunError, RunLockedError

    freed, kept = 0, []
    for item in found:
        try:
            item.remove()
            freed += item.bytes
        except (RunLockedError, RunError, OSError) as error:
            kept.append(f"{item.path}: not removed: {error}")
    print(f"freed {size(freed)}")
    if kept:
        raise EnvironmentProblem("\n".join(kept))
    return 0
