"""``keisei serve``: train, and serve the web page and the API."""

import argparse
import json
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from keisei.cli import process, settings, streams, torchrun

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from keisei.config import Settings
    from keisei.runtime.session import Keisei


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei serve``."""
    parser = subparsers.add_parser(
        "serve", help="train, and serve the web page", description=__doc__
    )
    settings.add_config(parser)
    settings.add_run(parser)
    group = parser.add_argument_group("server")
    group.add_argument("--host", metavar="HOST", help="address to listen on (server.host)")
    group.add_argument(
        "--port", metavar="PORT", help="port to listen on; 0 = any free port (server.port)"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the address, and then events without boards, as JSON lines on stdout",
    )


def run(args: argparse.Namespace) -> int:
    """Train and serve until a signal comes or a client sends ``POST /api/control/stop``."""
    process.set_up()
    chosen = settings.load(args)
    with process.problems():
        return torchrun.lead(lambda: _bind_and_serve(chosen, args))


def _bind_and_serve(chosen: "Settings", args: argparse.Namespace) -> int:
    settings.check_run(args, chosen)
    import anyio

    from keisei.server.security import check_host
    from keisei.server.serve import bind

    check_host(chosen.server)
    # Bind the port before the run is made. So no empty run is left behind if the port is in use,
    # and a browser that connects during the start is not refused.
    with bind(chosen.server.host, chosen.server.port) as sock:
        return anyio.run(_serve, chosen, args, sock)


async def _serve(chosen: "Settings", args: argparse.Namespace, sock: socket.socket) -> int:
    from keisei import Keisei, TrainingFailed
    from keisei.cli.progress import ProgressTable
    from keisei.feed.sinks import LogSink
    from keisei.log import Logging
    from keisei.server.serve import address_of

    progress = ProgressTable(lambda: session.settings, address=address_of(sock), as_json=args.json)
    session = Keisei(
        chosen,
        run=args.run,
        resume=args.resume,
        init=args.init,
        # Under torchrun, serving ends when training ends. Otherwise the other ranks would keep
        # their GPUs until the server ends. If a rank hangs, torchrun would wait just as long.
        keep_serving=torchrun.ranks() == 1,
        leave_compile=torchrun.ranks() == 1,
        sinks=[LogSink(), progress],
    )

    def stop() -> None:
        session.stop()
        progress.hurry()

    on_stderr = process.beside_json if args.json else process.on_console
    with Logging(chosen.log.level, on_stderr) as logs:
        try:
            async with process.stopped_by_signal(stop):
                _announce(address_of(sock), as_json=args.json)
                async with session as keisei:
                    logs.add_file(keisei.run.path / process.LOG_FILE)
                    logs.forward(keisei.log)
                    await _until_stopped(keisei, sock)
        except TrainingFailed as failure:
            process.report_failure(failure, session.run.path / process.LOG_FILE)
            return 1
    if session.left_behind:
        process.leave_now(0)
    return 0


def _announce(address: str, *, as_json: bool) -> None:
    """Print the address on stdout, before all events."""
    streams.announce(json.dumps({"address": address}) if as_json else f"Keisei is at {address}")


async def _until_stopped(keisei: "Keisei", sock: socket.socket) -> None:
    """Serve until the run ends. If the server fails, raise an alert and train without a server."""
    import anyio

    from keisei.feed.supervise import supervise
    from keisei.server import create_app
    from keisei.server.serve import end_streams_from_hub, run_server

    end_streams_from_hub()
    ended = anyio.Event()
    serve = partial(run_server, create_app(keisei), sock, ended)
    async with anyio.create_task_group() as server:
        server.start_soon(supervise, "server", serve, keisei.alert)
        server.start_soon(_leave_in_time, keisei)
        # If training fails, `wait` returns only at a stop, so that the page can show the failure.
        await keisei.wait()
        ended.set()


async def _leave_in_time(keisei: "Keisei") -> None:
    """Limit the time of every stop, including a stop by ``POST /api/control/stop``."""
    await keisei.stopping()
    process.leave_in_time()
