"""``keisei train``: train without a web page, and print the progress."""

import argparse
from typing import TYPE_CHECKING, Any

from keisei.cli import process, settings, streams, torchrun

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from keisei.config import Settings


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei train``."""
    parser = subparsers.add_parser("train", help="train without a web page", description=__doc__)
    settings.add_config(parser)
    settings.add_run(parser)
    parser.add_argument(
        "--json", action="store_true", help="print events, without boards, as JSON lines on stdout"
    )


def run(args: argparse.Namespace) -> int:
    """Train until the run ends or a signal comes. Return exit code 0, or 1 if training failed."""
    process.set_up()
    chosen = settings.load(args)
    import anyio

    with process.problems():
        return torchrun.lead(lambda: anyio.run(_train, chosen, args))


async def _train(chosen: "Settings", args: argparse.Namespace) -> int:
    settings.check_run(args, chosen)
    from keisei import Keisei, TrainingFailed
    from keisei.cli.progress import ProgressTable
    from keisei.feed.sinks import LogSink
    from keisei.log import Logging
    from keisei.store.layout import LOG_FILE

    progress = ProgressTable(
        lambda: session.settings,
        as_json=args.json,
        quiet=chosen.log.format == "json",
        on_broken_pipe=lambda: session.stop(),  # noqa: PLW0108 (the session does not exist yet)
    )
    session = Keisei(
        chosen,
        run=args.run,
        resume=args.resume,
        init=args.init,
        leave_compile=torchrun.ranks() == 1,  # otherwise other ranks would wait for this rank
        sinks=[LogSink(), progress],
    )

    def stop() -> None:
        session.stop()
        progress.hurry()

    on_stderr = process.beside_json if args.json else process.on_console
    with Logging(chosen.log.level, on_stderr, form=chosen.log.format) as logs:
        try:
            async with process.stopped_by_signal(stop), session as keisei:
                logs.add_file(keisei.run.path / LOG_FILE)
                logs.forward(keisei.log)
                outcome = await keisei.wait()
        except TrainingFailed as failure:
            process.report_failure(failure, session.run.path / LOG_FILE)
            return 1
    if progress.lost:
        raise progress.lost
    if not args.json:
        streams.announce(f"{outcome.kind} at step {session.status().step:,}: {session.run.path}")
    if session.left_behind:
        process.leave_now(0)
    return 0
