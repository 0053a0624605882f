"""``keisei usi``: play as a USI engine in a GUI such as ShogiHome."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.errors import CommandError
from keisei.cli.settings import player
from keisei.cli.streams import OutputLost

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Sequence
    from types import FrameType

    from keisei.play import players
    from keisei.usi.server import Session


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei usi``."""
    parser = subparsers.add_parser(
        "usi", help="play in a shogi GUI, as a USI engine", description=__doc__
    )
    parser.add_argument(
        "agent",
        metavar="RUN|CHECKPOINT",
        type=player,
        help="directory of a checkpoint, or of a run, whose newest valid checkpoint plays; shipped: "
        "the network that ships with Keisei",
    )


def run(args: argparse.Namespace) -> int:
    """Answer the commands on stdin until ``quit``, the end of stdin, SIGINT or SIGTERM."""
    import importlib.metadata

    from keisei.usi.report import say
    from keisei.usi.server import Session

    process.set_up()
    for number in process.stopping_signals():
        signal.signal(number, _leave)
    name = f"Keisei {importlib.metadata.version('keisei')} ({args.agent.absolute().name})"
    out = sys.stdout

    def send(line: str) -> None:
        print(line, file=out, flush=True)

    # If a network of another package prints text, the GUI must not read this text as USI.
    with contextlib.redirect_stdout(sys.stderr):
        session = Session(name, partial(_load, args.agent), _openings, send)
        threading.Thread(target=_listen, args=(session, sys.stdin.fileno()), daemon=True).start()
        try:
            session.work()
        except CommandError as error:
            send(say(str(error)))
            raise CommandError(str(error)) from error  # a plain CommandError has exit code 1
    return 0


def _leave(number: int, frame: "FrameType | None") -> None:
    """End the process at once, because there is nothing to save.

    This handler does not raise an exception, because an import could catch the exception.
    """
    os._exit(0)


def _listen(session: "Session", stdin: int) -> None:
    """Give the GUI's lines to the session until ``quit`` or the end of stdin.

    The thread reads the file itself: a thread that waits in ``sys.stdin`` at the exit of the
    process would hold its lock, and the interpreter would crash.
    """
    from keisei.usi.protocol import Lines

    lines = Lines()
    try:
        while data := os.read(stdin, 65_536):
            if not all(session.hear(line) for line in lines.feed(data)):
                break
        else:
            session.hear("".join(lines.feed(b"\n")))  # a last line without its end
    except (BrokenPipeError, OutputLost):  # the GUI reads no more answers
        pass  # the last flush of the output fails, too, and is reported
    finally:
        session.close()


def _openings(file: str) -> "Sequence[str]":
    """Return the openings of a book; Keisei's own book for an empty name. Raises OpeningsError."""
    from keisei.evaluation.openings import load_openings

    return load_openings(Path(file) if file else None)


def _load(agent: Path, device: str, threads: int) -> "_Player":
    """Load the player of a run or checkpoint. Raises CommandError."""
    from keisei.store.checkpoints import check_holds_weights

    with process.problems():
        check_holds_weights(agent)  # before torch is imported, so that an error comes early
    import torch

    from keisei.play.players import load

    torch.set_num_threads(threads)
    with process.problems():
        return _Player(load(agent, device))


class _Player:
    """A loaded player, as the engine needs it."""

    def __init__(self, player: "players.Player") -> None:
        self.about = f"{player.checkpoint} (step {player.step:,}) on {player.agent.device}"
        self.declaration = player.declaration
        self.max_ply = player.max_ply
        self.assess = player.agent.assess
        for error in player.refused:
            print(f"keisei: refused: {error}", file=sys.stderr)
