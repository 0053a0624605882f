"""``keisei serve``: train, and serve the web page and the API."""

import argparse
import json
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from keisei.cli import process, settings, streams, torchrun

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from ssl import SSLContext

    from keisei.config import Server, Settings
    from keisei.runtime.session import Keisei


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei serve``."""
    parser = subparsers.add_parser(
        "serve", help="train, and serve the web page", description=__doc__
    )
    settings.add_config(parser)
    settings.add_run(parser)
    settings.add_server(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the address, and then events without boards, as JSON lines on stdout",
    )


def run(args: argparse.Namespace) -> int:
    """Train, and serve until a signal or a ``POST /api/control/stop`` comes.

    Under torchrun, serving also ends when training ends.
    """
    process.set_up()
    chosen = settings.load(args)
    with process.problems():
        return torchrun.lead(lambda: _bind_and_serve(chosen, args))


def _bind_and_serve(chosen: "Settings", args: argparse.Namespace) -> int:
    settings.check_run(args, chosen)
    import anyio

    from keisei.server.hosts import check_host
    from keisei.server.serve import bind
    from keisei.server.tls import tls_context

    check_host(chosen.server)
    tls = tls_context(chosen.server)
    # Bind the port before the run is made. If binding fails, no empty run is left behind. A
    # browser that connects during the start has to wait, but is not refused.
    with bind(chosen.server.host, chosen.server.port) as sock:
        welcome = welcome_lines(sock, chosen.server)
        return anyio.run(_serve, chosen, args, sock, tls, welcome)


def welcome_lines(sock: socket.socket, server: "Server") -> list[str]:
    """Return the lines that say how to reach the server. Makes the token file if it is missing."""
    from keisei.server.hosts import urls
    from keisei.server.token import open_token

    best, *others = urls(sock, https=bool(server.tls_certificate))
    lines = [f"Keisei is at {best}" + "".join(f" and {url}" for url in others)]
    if not server.token_file:
        return lines
    token = open_token(server.token_file)
    if token.made:
        link = f"{best}#token={token.token.get_secret_value()}"
        lines.append(f"Sign in with this link, which is shown only once: {link}")
    return [*lines, f"The access token is in {server.token_file}"]


async def _serve(
    chosen: "Settings",
    args: argparse.Namespace,
    sock: socket.socket,
    tls: "SSLContext | None",
    welcome: list[str],
) -> int:
    from keisei import Keisei, TrainingFailed
    from keisei.cli.progress import ProgressTable
    from keisei.feed.sinks import LogSink
    from keisei.log import Logging
    from keisei.server.hosts import urls
    from keisei.store.layout import LOG_FILE

    address = urls(sock, https=tls is not None)[0]
    progress = ProgressTable(
        lambda: session.settings,
        address=address,
        as_json=args.json,
        quiet=chosen.log.format == "json",
    )
    session = Keisei(
        chosen,
        run=args.run,
        resume=args.resume,
        init=args.init,
        # Under torchrun, serving ends when training ends. Otherwise the other ranks would keep
        # their GPUs until the server ends, and until then torchrun would not end a hanging rank.
        keep_serving=torchrun.ranks() == 1,
        leave_compile=torchrun.ranks() == 1,
        sinks=[LogSink(), progress],
    )

    def stop() -> None:
        session.stop()
        progress.hurry()

    on_stderr = process.beside_json if args.json else process.on_console
    with Logging(chosen.log.level, on_stderr, form=chosen.log.format) as logs:
        try:
            async with process.stopped_by_signal(stop):
                announce(address, welcome, as_json=args.json)
                async with session as keisei:
                    logs.add_file(keisei.run.path / LOG_FILE)
                    logs.forward(keisei.log)
                    await _until_stopped(keisei, sock, tls)
        except TrainingFailed as failure:
            process.report_failure(failure, session.run.path / LOG_FILE)
            return 1
    if session.left_behind:
        process.leave_now(0)
    return 0


def announce(address: str, welcome: list[str], *, as_json: bool) -> None:
    """Print how to reach the server, before all events.

    With ``as_json``, print the address as JSON on stdout, and the ``welcome`` lines on stderr.
    """
    if as_json:
        streams.announce(json.dumps({"address": address}))
        print("\n".join(welcome), file=sys.stderr)
    else:
        streams.announce("\n".join(welcome))


async def _until_stopped(keisei: "Keisei", sock: socket.socket, tls: "SSLContext | None") -> None:
    """Serve until the run ends.

    A server that fails is restarted up to three times. Each failure sends an alert. If the
    server fails once more, training goes on without a server.
    """
    import anyio

    from keisei.feed.supervise import supervise
    from keisei.server import create_app
    from keisei.server.hosts import trusted_proxies
    from keisei.server.serve import end_streams_from_hub, run_server

    end_streams_from_hub()
    ended = anyio.Event()
    proxies = trusted_proxies(keisei.settings.server)
    serve = partial(run_server, create_app(keisei), sock, ended, tls=tls, proxies=proxies)
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
