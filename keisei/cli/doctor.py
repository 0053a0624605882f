"""``keisei doctor``: check whether this machine can train, and say what to do if not."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from keisei.cli import process, settings

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei doctor``."""
    parser = subparsers.add_parser(
        "doctor", help="check whether this machine can train", description=__doc__
    )
    settings.add_config(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print all findings. Return 0, or 3 if something prevents a run."""
    from keisei.cli.checks import examine
    from keisei.log import escape

    process.set_up()
    chosen = settings.load(args)
    findings = []
    for finding in examine(chosen):
        findings.append(finding)
        if not args.json:
            print(f"{finding.verdict:<8} {finding.name:<13} {escape(finding.found)}", flush=True)
            if finding.advice:
                print(f"{'':<22} -> {escape(finding.advice)}")
    problems = sum(finding.verdict == "problem" for finding in findings)
    if args.json:
        shown = [asdict(finding) for finding in findings]
        print(json.dumps({"can_train": not problems, "findings": shown}, indent=2))
    return 3 if problems else 0
