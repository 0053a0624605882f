"""``keisei train``: train without a web page, telling of progress in the terminal."""

import argparse
from typing import TYPE_CHECKING, Any

from keisei.cli import process, settings
from keisei.cli.progress import reporter

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from keisei.config import Settings


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei train``."""
    parser = subparsers.add_parser("train", help="train without a page", description=__doc__)
    settings.add_config(parser)
    settings.add_run(parser)
    parser.add_argument(
        "--json", action="store_true", help="events as JSON lines on stdout (without boards)"
    )


def run(args: argparse.Namespace) -> int:
    """Train to the end of the run or the first signal. Returns 1 if training failed."""
    process.set_up()
    chosen = settings.load(args)
    import anyio

    with process.problems():
        return anyio.run(_train, chosen, args)


async def _train(chosen: "Settings", args: argparse.Namespace) -> int:
    import anyio

    from keisei import Keisei, TrainingFailed
    from keisei.events import TOPICS
    from keisei.log import Logging
    from keisei.runtime.sinks import LogSink

    session = Keisei(chosen, run=args.run, resume=args.resume, init=args.init, sinks=[LogSink()])
    with Logging(chosen.log.level, process.on_console) as logs:
        try:
            async with session as keisei, anyio.create_task_group() as tasks:
                logs.add_file(keisei.run.path / process.LOG_FILE)
                logs.forward(keisei.log)
                tasks.start_soon(process.stop_on_signal, keisei.stop)
                with reporter(keisei.settings, as_json=args.json) as report:
                    async for event in keisei.events(topics=set(TOPICS) - {"board"}):
                        report(event)
                outcome = await keisei.wait()
                tasks.cancel_scope.cancel()
        except TrainingFailed as failure:
            process.tell_failure(failure, session.run.path / process.LOG_FILE)
            return 1
    if not args.json:
        print(f"{outcome.kind} at step {session.status().step:,}: {session.run.path}")
    return 0
