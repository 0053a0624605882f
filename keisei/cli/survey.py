"""``keisei warmup --dry-run``: list the contents of a collection of game records."""

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
    """Print all files, all games and the totals. Raises UsageError for an unreadable path."""
    from keisei.records import RecordError
    from keisei.records.survey import survey

    process.set_up()
    try:
        surveyed = survey(paths)
        if as_json:
            files = list(surveyed)
            report = {"files": [_file(file) for file in files], "total": _total(files)}
            print(json.dumps(report, indent=2))
        else:
            _print_table(surveyed)
    except RecordError as error:
        raise UsageError(str(error)) from None
    return 0


def _file(file: "Surveyed") -> dict[str, Any]:
    """Return a surveyed file as a JSON object. Fields without a value are null or empty."""
    return {
        "file": str(file.file),
        "format": file.format or None,
        "encoding": file.encoding or None,
        "problem": file.problem or None,
        "games": [_game(game) for game in file.games],
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
        "games": sum(len(file.read) for file in files),
        "plies": sum(len(game.moves) for file in files for game in file.read),
        "refused": sum(len(file.refused) for file in files),
        "not_read": sum(bool(file.problem) for file in files),
    }


def _print_table(surveyed: "Iterable[Surveyed]") -> None:
    """Print a line for each file, then a line for each game of the file; at the end, the totals."""
    from keisei.records.text import printable

    print(f"{'format':<7}{'encoding':<10}{'games':>6}{'refused':>9}  file")
    files = []
    for file in surveyed:
        files.append(file)
        name = printable(str(file.file))
        if file.problem:
            print(f"{'-':<7}{'-':<10}{'-':>6}{'-':>9}  {name}: {file.problem}")
            continue
        counts = f"{len(file.read):>6}{len(file.refused):>9}"
        print(f"{file.format:<7}{file.encoding:<10}{counts}  {name}")
        for game in file.games:
            print(f"    {printable(_describe(game, str(file.file)))}")
    total = _total(files)
    print(
        f"{total['files']:,} files, {total['not_read']:,} of them not read; {total['games']:,} games "
        f"with {total['plies']:,} plies; refused games: {total['refused']:,}"
    )


def _describe(game: "GameRecord | RecordError", file: str) -> str:
    """Return a line about a game: the place in the file, and the result or reason of refusal."""
    from keisei.records import RecordError
    from keisei.shogi import START_SFEN

    if isinstance(game, RecordError):
        line, _, why = str(game).removeprefix(f"{file}:").partition(": ")
        return f"line {line}: refused: {why}"
    line = game.source.removeprefix(f"{file}:")
    won = {None: "unknown result", "draw": "draw"}.get(game.winner, f"{game.winner} won")
    start = "" if game.start == START_SFEN else f", from {game.start}"
    return f"line {line}: {len(game.moves)} plies, {won}, {game.reason}{start}"
