"""``keisei analyse``: judge the moves of a game with a network and a tree search."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.errors import UsageError, require
from keisei.cli.settings import player, whole
from keisei.resources import SHIPPED

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from keisei.play.game_report import GameReport
    from keisei.records import GameRecord

_NOT_A_FILE = re.compile(r"startpos|[1-9][a-i][1-9][a-i]\+?")
"""Single words that are positions or moves. Any other single word is the name of a file."""


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei analyse``."""
    parser = subparsers.add_parser(
        "analyse",
        help="judge the moves of a game",
        description=f"{__doc__} docs/guide/analysis.md explains the table.",
    )
    parser.add_argument(
        "game", metavar="GAME", nargs="+",
        help="a record file (.kif, .ki2, .csa, .usi), or a position or USI line (startpos moves 7g7f)",
    )  # fmt: skip
    parser.add_argument(
        "--player", metavar="RUN|CHECKPOINT", type=player, default=SHIPPED,
        help="run or checkpoint whose network is asked (default: the network that ships with Keisei)",
    )  # fmt: skip
    parser.add_argument(
        "--simulations", metavar="N", type=whole, default=400,
        help="number of simulations for each position (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", metavar="S", type=float,
        help="end the search of the whole game after so many seconds, with fewer simulations",
    )  # fmt: skip
    parser.add_argument(
        "--game", dest="number", metavar="N", type=whole, default=1,
        help="number of the game in a file of several games (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--first", metavar="N", type=whole, default=1, help="first move to analyse")
    parser.add_argument("--last", metavar="N", type=whole, help="last move to analyse")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument(
        "--kif", metavar="FILE", type=Path,
        help="also write the game as KIF with comments that ShogiHome reads",
    )  # fmt: skip
    parser.add_argument(
        "--device", metavar="NAME", default="auto", help="auto, cpu, cuda or cuda:N"
    )
    parser.add_argument(
        "--threads", metavar="N", type=whole, default=1,
        help="number of torch's threads; more than 1 helps only on idle cores (default: 1)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Analyse the game; print the report; write the KIF file if one is wanted."""
    from keisei.records import RecordError, read_game

    require(
        "seconds", args.seconds, args.seconds is None or args.seconds > 0, "must be more than 0"
    )
    try:
        game = read_game(_source(args.game), args.number)
    except RecordError as error:
        raise UsageError(str(error)) from error
    if args.kif:
        _check_kif(args, game)
    report = _analyse(args, game)
    if args.kif:
        from keisei.play.annotated_kif import annotated_kif

        with process.problems():
            args.kif.write_text(annotated_kif(report), encoding="utf-8")
    _print(report, as_json=args.json)
    return 0


def _source(words: list[str]) -> Path | str:
    """Return the path of the record file, or the USI line, that the words mean."""
    text = " ".join(words)
    if len(text.split()) > 1 and not Path(text).exists():
        return text
    return text if _NOT_A_FILE.fullmatch(text) else Path(text)


def _check_kif(args: argparse.Namespace, game: "GameRecord") -> None:
    """Raise UsageError if the KIF file cannot be written: before minutes of search."""
    if args.kif.suffix.lower() not in {".kif", ".kifu"}:
        raise UsageError(f"--kif: the file's name must end in .kifu or .kif (got {args.kif})")
    if not args.kif.absolute().parent.is_dir():
        raise UsageError(f"--kif: {args.kif.parent} is not a folder")
    if args.kif.exists() and Path(" ".join(args.game)).exists() and args.kif.samefile(args.game[0]):
        raise UsageError(f"--kif: {args.kif} is the record itself; give another name")
    if not game.moves:
        raise UsageError("--kif: a position without moves is not a game")


def _analyse(args: argparse.Namespace, game: "GameRecord") -> "GameReport":
    from keisei.store.checkpoints import check_holds_weights

    process.set_up()
    with process.problems():
        check_holds_weights(args.player)  # before torch is imported, so that an error comes early
    import torch

    from keisei.play.analysis import check_range
    from keisei.play.game_report import analyse
    from keisei.play.players import load

    try:
        check_range(len(game.moves), args.first, args.last, args.simulations)
    except ValueError as error:
        raise UsageError(f"--{error}") from error
    torch.set_num_threads(args.threads)
    with process.problems():
        player = load(args.player, args.device)
    with _progress_bar() as progress:
        return analyse(
            game,
            player,
            first=args.first,
            last=args.last,
            simulations=args.simulations,
            seconds=args.seconds,
            progress=progress,
        )


@contextmanager
def _progress_bar() -> "Iterator[Callable[[float], None]]":
    """Show a progress bar if stderr is a terminal. Yield the function that moves it."""
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("analysing", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _print(report: "GameReport", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False))
        return
    from rich.console import Console

    from keisei.cli.analysis_table import show

    show(report, Console(highlight=False))
