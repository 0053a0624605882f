"""``keisei warmup --dry-run``: what a collection of game records holds, without training."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.errors import UsageError

if TYPE_CHECKING:
    from keisei.records import GameRecord, RecordError
    from keisei.records.survey import Surveyed


def run(paths: list[Path], *, as_json: bool) -> int:
    """List every file and game, and the totals."""
    from keisei.records import RecordError
    from keisei.records.survey import survey

    process.set_up()
    try:
        found = survey(paths)
        if as_json:
            files = list(found)
            report = {"files": [_file(one) for one in files], "total": _total(files)}
            print(json.dumps(report, indent=2))
        else:
            _print_table(found)
    except RecordError as error:
        raise UsageError(str(error)) from None
    return 0


def _file(one: "Surveyed") -> dict[str, Any]:
    """A file for JSON; what does not apply to it is null or empty."""
    return {
        "file": str(one.file),
        "format": one.format or None,
        "encoding": one.encoding or None,
        "problem": one.problem or None,
        "games": [_game(game) for game in one.games],
    }


def _game(game: "GameRecord | RecordError") -> dict[str, Any]:
    from keisei.records import RecordError

    if isinstance(game, RecordError):
        return {"refused": str(game)}
    return {
        "source": game.source,
        "start": game.start,
        "plies": len(game.moves),
        "winner": game.winner,
        "reason": game.reason,
    }


def _total(files: "list[Surveyed]") -> dict[str, int]:
    return {
        "files": len(files),
        "games": sum(len(one.read) for one in files),
        "plies": sum(len(game.moves) for one in files for game in one.read),
        "refused": sum(len(one.refused) for one in files),
        "not_read": sum(bool(one.problem) for one in files),
    }


def _print_table(found: "Iterable[Surveyed]") -> None:
    """A line a file, and one below it for each game; the totals at the end."""
    from keisei.records.text import printable

    print(f"{'format':<7}{'encoding':<10}{'games':>6}{'refused':>9}  file")
    files = []
    for one in found:
        files.append(one)
        file = printable(str(one.file))
        if one.problem:
            print(f"{'-':<7}{'-':<10}{'-':>6}{'-':>9}  {file}: {one.problem}")
            continue
        counts = f"{len(one.read):>6}{len(one.refused):>9}"
        print(f"{one.format:<7}{one.encoding:<10}{counts}  {file}")
        for game in one.games:
            print(f"    {printable(_told(game, str(one.file)))}")
    total = _total(files)
    print(
        f"{total['files']:,} files, {total['not_read']:,} of them not read; {total['games']:,} games "
        f"with {total['plies']:,} plies, {total['refused']:,} refused"
    )


def _told(game: "GameRecord | RecordError", file: str) -> str:
    """A game for people: its line in the file and its end, or why it was refused."""
    from keisei.records import RecordError
    from keisei.shogi import START_SFEN

    if isinstance(game, RecordError):
        line, _, why = str(game).removeprefix(f"{file}:").partition(": ")
        return f"line {line}: refused: {why}"
    line = game.source.removeprefix(f"{file}:")
    won = {None: "unknown result", "draw": "draw"}.get(game.winner, f"{game.winner} won")
    start = "" if game.start == START_SFEN else f", from {game.start}"
    return f"line {line}: {len(game.moves)} plies, {won}, {game.reason}{start}"
