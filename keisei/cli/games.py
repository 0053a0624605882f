"""``keisei games``: write the games of a run as game records."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.errors import CommandError, UsageError
from keisei.cli.streams import drop_output

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Callable, Iterable, Iterator

    from keisei.records.stored import FormatName
    from keisei.records.write import GameToWrite
    from keisei.store import RunReader

_PAGE = 500


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei games export``."""
    parser = subparsers.add_parser("games", help="write games as game records", description=__doc__)
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    title = "write games of evaluations, of self-play or of people, as KIF, CSA, USI or JSON"
    export = actions.add_parser("export", help=title, description=f"keisei games export: {title}.")
    export.add_argument("run", metavar="RUN", type=Path, help="directory of the run")
    form = export.add_mutually_exclusive_group(required=True)
    form.add_argument(
        "--format",
        choices=("kif", "csa", "usi", "json"),
        help="kif and csa: one file per game in --out; usi and json: one line per game on stdout, "
        "or one file per game in --out",
    )
    form.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="the same as --format json",
    )
    which = export.add_mutually_exclusive_group()
    which.add_argument(
        "--evaluation",
        metavar="ID",
        help="write only the games of this evaluation (default: all evaluations)",
    )
    which.add_argument(
        "--self-play", action="store_true", help="write the recorded self-play games instead"
    )
    which.add_argument(
        "--played", action="store_true", help="write the games that people played instead"
    )
    export.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder for the files; without --out, usi and json go to stdout",
    )


def run(args: argparse.Namespace) -> int:
    """Write the games to files or to stdout."""
    from keisei.records.game import RecordError
    from keisei.store import RunReader
    from keisei.store.directory import check_is_run

    if args.out is None and args.format not in {"usi", "json"}:
        raise UsageError(
            f"--out: a folder is missing; the format {args.format} has one file per game"
        )
    with process.problems():
        check_is_run(args.run)
        reader = RunReader(args.run)
        if args.evaluation is not None and reader.evaluation(args.evaluation) is None:
            raise UsageError(f"--evaluation: {args.run} has no evaluation {args.evaluation!r}")
        games = _chosen(reader, args)
        try:
            count = _write(games, args.format, args.out)
        except RecordError as error:
            raise CommandError(str(error)) from error
        except BrokenPipeError:  # the program that read stdout has ended, for example `head`
            drop_output(sys.stdout)
            return 0
    if args.out is not None or not count:
        print(f"{count} games" + (f" in {args.out}" if args.out else ""), file=sys.stderr)
    return 0


def _chosen(reader: "RunReader", args: argparse.Namespace) -> "Iterator[tuple[str, GameToWrite]]":
    """Yield (file name, game) for the games that the arguments name."""
    if args.self_play:
        return _self_play(reader)
    return _played(reader) if args.played else _matches(reader, args.evaluation)


def _write(games: "Iterable[tuple[str, GameToWrite]]", form: "FormatName", out: Path | None) -> int:
    """Write each game to its own file in ``out``, or to stdout. Return the number of games."""
    from keisei.records.stored import FORMATS

    chosen = FORMATS[form]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    count = 0
    for count, (name, game) in enumerate(games, 1):  # noqa: B007
        text = chosen.write(game)
        if out is None:
            sys.stdout.write(text)
        else:
            (out / f"{name}{chosen.ending}").write_text(text, encoding="utf-8")
    return count


def _matches(reader: "RunReader", evaluation: str | None) -> "Iterator[tuple[str, GameToWrite]]":
    """Yield (file name, game) for games of evaluations, the oldest evaluation first."""
    from keisei.records.stored import evaluation_game, evaluation_name

    pages = _pages(partial(reader.match_games, evaluation))
    keys = [(row["evaluation"], row["number"]) for row in pages][::-1]
    order = {key: place for place, key in enumerate(dict.fromkeys(key for key, _ in keys))}
    for key, number in sorted(keys, key=lambda key: (order[key[0]], key[1])):
        row = reader.match_game(key, number)
        if row is None:  # a resume of the run has just deleted this game
            continue
        yield evaluation_name(row), evaluation_game(row)


def _played(reader: "RunReader") -> "Iterator[tuple[str, GameToWrite]]":
    """Yield (file name, game) for the games that people played, the oldest game first."""
    from keisei.records.stored import evaluation_name, played_game
    from keisei.store.matches import PLAYED

    for number in [row["number"] for row in _pages(partial(reader.match_games, PLAYED))][::-1]:
        if row := reader.match_game(PLAYED, number):
            yield evaluation_name(row), played_game(row)


def _self_play(reader: "RunReader") -> "Iterator[tuple[str, GameToWrite]]":
    """Yield (file name, game) for recorded self-play games, the oldest game first."""
    from keisei.records.stored import self_play_game, self_play_name

    for number in [row["id"] for row in _pages(reader.games)][::-1]:
        row = reader.game(number)
        if row is None:  # the run has just deleted this game to make room for newer games
            continue
        yield self_play_name(row), self_play_game(row)


def _pages(query: "Callable[..., list[dict[str, Any]]]") -> "Iterator[dict[str, Any]]":
    """Yield all rows of ``query``, which returns the rows page by page."""
    after = None
    while page := query(limit=_PAGE, after=after):
        yield from page
        after = page[-1]["id"]
