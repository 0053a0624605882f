"""``keisei usi``: play as a USI engine in a GUI such as ShogiHome."""

import argparse
import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from keisei.cli import process
from keisei.cli.errors import CommandError
from keisei.cli.settings import player

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterable
    from types import FrameType

    from keisei.play import players
    from keisei.shogi import Position
    from keisei.usi.server import Assessment, Session


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

    from keisei.usi.server import Session

    process.set_up()
    for number in process.stopping_signals():
        signal.signal(number, _leave)
    name = f"Keisei {importlib.metadata.version('keisei')} ({args.agent.absolute().name})"
    out = sys.stdout
    # If a network of another package prints text, the GUI must not read this text as USI.
    with contextlib.redirect_stdout(sys.stderr):
        _converse(Session(name, partial(_load, args.agent)), sys.stdin.buffer, out)
    return 0


def _leave(number: int, frame: "FrameType | None") -> None:
    """End the process at once, because there is nothing to save.

    This handler does not raise an exception, because an import could catch the exception.
    """
    os._exit(0)


def _converse(session: "Session", lines: "Iterable[bytes]", out: TextIO) -> None:
    """Print the answers to the GUI's lines. Raises CommandError if loading a player fails."""
    from keisei.usi.server import say

    for line in lines:
        try:
            for answer in session.hear(line.decode("utf-8", "replace")):
                print(answer, file=out, flush=True)
        except CommandError as error:
            print(say(str(error)), file=out, flush=True)
            raise CommandError(str(error)) from error  # a plain CommandError has exit code 1
        if session.over:
            return


def _load(agent: Path, device: str, threads: int) -> "_Player":
    """Load the player of a run or checkpoint. Raises CommandError."""
    from keisei.store.checkpoints import check_holds_weights

    with process.problems():
        check_holds_weights(agent)  # before torch is imported, so that an error comes early
    import torch

    from keisei.play.players import load
    from keisei.shogi import Position
    from keisei.shogi.proof import shortest_mate

    torch.set_num_threads(threads)
    with process.problems():
        player = _Player(load(agent, device))
    player.assess(Position())  # the slow first calls must not happen during a game
    shortest_mate(Position(), 3)
    return player


class _Player:
    """A loaded player. To assess a position, the player also uses the game's earlier moves."""

    def __init__(self, player: "players.Player") -> None:
        self._player = player
        self.about = f"{player.checkpoint} (step {player.step:,}) on {player.agent.device}"
        self.declaration = player.declaration
        for error in player.refused:
            print(f"keisei: refused: {error}", file=sys.stderr)

    def assess(self, position: "Position") -> "Assessment":
        """Return the position's value and all legal moves, the most probable move first."""
        from keisei.env import ACTIONS, observe_position
        from keisei.usi.server import Assessment

        observation = observe_position(position, self._player.max_ply)
        (moves,), (value,) = self._player.agent.top_and_values(*observation, k=ACTIONS)
        return Assessment(tuple((position.usi(move), share) for move, share in moves), float(value))
