"""``keisei watch``: serve the web page of a run that another process trains, from its files."""

import argparse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process, serve, settings
from keisei.cli.errors import UsageError

if TYPE_CHECKING:
    import socket
    from argparse import _SubParsersAction
    from ssl import SSLContext

    from starlette.types import ASGIApp

    from keisei.config import Settings


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei watch``."""
    parser = subparsers.add_parser(
        "watch",
        help="serve the web page of a run from its files",
        description=f"{__doc__} The page shows the run but cannot control it.",
    )
    parser.add_argument(
        "path",
        metavar="RUN_DIR|RUN_ROOT",
        type=Path,
        nargs="?",
        help="a run, which need not exist yet, or a folder of runs (default: the setting run.root)",
    )
    settings.add_config(parser)
    settings.add_server(parser)
    parser.add_argument("--json", action="store_true", help="print the address as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes. Return exit code 0."""
    chosen = settings.load(args)
    if args.path and args.path.exists() and not args.path.is_dir():
        raise UsageError(f"{args.path}: not a folder: name a run or a folder of runs")
    with process.problems():
        return _bind_and_serve(chosen, args)


def _bind_and_serve(chosen: "Settings", args: argparse.Namespace) -> int:
    import anyio

    from keisei.server.hosts import check_host, urls
    from keisei.server.serve import bind
    from keisei.server.tls import tls_context
    from keisei.store.older_system import refusal

    if args.path and (why := refusal(args.path)):
        raise UsageError(why)
    check_host(chosen.server)
    tls = tls_context(chosen.server)
    with bind(chosen.server.host, chosen.server.port) as sock:
        welcome = serve.welcome_lines(sock, chosen.server)
        serve.announce(urls(sock, https=tls is not None)[0], welcome, as_json=args.json)
        anyio.run(_serve, chosen, args.path, sock, tls)
    return 0


async def _serve(
    chosen: "Settings", path: Path | None, sock: "socket.socket", tls: "SSLContext | None"
) -> None:
    import anyio

    from keisei.log import Logging
    from keisei.server.hosts import trusted_proxies
    from keisei.server.serve import end_streams_from_hub, run_server

    end_streams_from_hub()
    ended = anyio.Event()
    proxies = trusted_proxies(chosen.server)
    with Logging(chosen.log.level, process.on_console, form=chosen.log.format):
        async with _open(path, chosen) as (app, close):

            def stop() -> None:
                close()
                ended.set()

            async with process.stopped_by_signal(stop):
                await run_server(app, sock, ended, tls=tls, proxies=proxies)


@asynccontextmanager
async def _open(
    path: Path | None, chosen: "Settings"
) -> AsyncIterator[tuple["ASGIApp", Callable[[], None]]]:
    """Watch ``path``. Yield the application, and a function that ends all event streams.

    A folder that does not exist is a run that begins later.
    """
    from anyio import to_thread

    from keisei.server import create_app
    from keisei.watch.root import WatchedRoot
    from keisei.watch.run import WatchedRun

    if path is None or await to_thread.run_sync(_is_root, path):
        async with WatchedRoot(path or chosen.run.root, chosen.server) as root:
            yield root, root.close
    else:
        async with WatchedRun(path, chosen.server) as run:
            yield create_app(run, watched=True), run.close


def _is_root(path: Path) -> bool:
    from keisei.store import SETTINGS_FILE

    return path.is_dir() and not (path / SETTINGS_FILE).exists()
