"""The output of ``keisei analyse``: the report on a game as a table for a terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from keisei.cli.tables import many, table

if TYPE_CHECKING:
    from rich.console import Console

    from keisei.play.analysis import Candidate, MoveReport, PositionReport
    from keisei.play.game_report import GameReport
    from keisei.records import GameRecord

MOVES = 8
"""Most moves of a line that are shown. A terminal shows as many of them as fit."""
_STYLES = {
    "blunder": "bold red",
    "mistake": "red",
    "dubious": "yellow",
    "inaccuracy": "cyan",
    "missed mate": "bold red",
}


def show(report: "GameReport", console: "Console") -> None:
    """Print the report: a table of moves and a summary, or the moves of a single position."""
    for line in _heading(report):
        console.print(line, markup=False, soft_wrap=True)
    width = console.width if console.is_terminal else None
    if report.moves:
        _print_moves(report, console, width)
        console.print(f"\n{_summary(report)}", markup=False, soft_wrap=True)
    else:
        for line in _position(report.position, width):
            console.print(line, markup=False, soft_wrap=True)


def _heading(report: "GameReport") -> list[str]:
    game = report.game
    how = f"{report.player}, {many(report.simulations, 'simulation')} for each position"
    lines = [_game(game)] if game.moves else [game.start]
    return [*lines, f"{how}, {report.seconds:.1f} s", ""]


def _game(game: "GameRecord") -> str:
    """Return a line about the game: players, number of moves, result."""
    from keisei.records.text import printable

    players = f"{game.black or 'black'} against {game.white or 'white'}"
    won = {None: "unknown result", "draw": "draw"}.get(game.winner, f"{game.winner} won")
    reason = "" if game.reason == "unknown" else f" ({game.reason})"
    source = f"{game.source}: " if game.source else ""
    return printable(f"{source}{players}, {many(len(game.moves), 'move')}, {won}{reason}")


def _print_moves(report: "GameReport", console: "Console", width: int | None) -> None:
    from rich.text import Text

    console.print(f"{'':<12}win rate of the mover, %", markup=False)
    columns = f"{'move':<12}{'before':>7}{'after':>7}{'loss':>7}  {'verdict':<11}  best line"
    console.print(columns, markup=False)
    for move in report.moves:
        verdict = "missed mate" if move.missed_mate else move.verdict
        before, after = move.before, move.after
        text = (
            f"{move.ply:>3} {before.side[0]} {move.move:<6}{_rate(before.value):>7}"
            f"{_rate(-after.value):>7}{_loss(move):>7}  {verdict:<11}  "
        )
        text += _line(before, width and width - len(text))
        console.print(Text(text.rstrip(), style=_STYLES.get(verdict, "")), soft_wrap=True)


def _rate(value: float) -> str:
    """Return a value, P(win) - P(loss), as a win rate in per cent."""
    return f"{(1 + value) * 50:.1f}"


def _loss(move: "MoveReport") -> str:
    return f"{move.loss * 100:.1f}" if move.loss else ""


def _line(found: "PositionReport | Candidate", width: int | None) -> str:
    """Return the mate, if there is one, and as many moves of the line as fit into the width."""
    text = ""
    if found.mate:
        text = f"mate in {found.mate}:" if found.mate > 0 else f"mated in {-found.mate}:"
    elif found.line == ("win",):
        text = "declares:"
    for move in found.line[:MOVES]:
        longer = f"{text} {move}".strip()
        if width is not None and len(longer) > width:
            break
        text = longer
    return text


def _summary(report: "GameReport") -> str:
    """Return a table of the number of moves, the mean loss and the verdicts of each side."""
    rows: list[Sequence[str]] = []
    for side, counts in report.summary().items():
        figures = [
            f"{value * 100:.1f}" if name == "mean_loss" else f"{value}"
            for name, value in counts.items()
        ]
        heading = ["", *(name.replace("_", " ") for name in counts)]
        rows = [*(rows or [heading]), [side, *figures]]
    return table(rows, right=range(1, len(rows[0])))


def _position(found: "PositionReport", width: int | None) -> "Iterator[str]":
    """Yield lines about a position: its win rate, and a table of its best moves."""
    if found.end:
        yield f"The game is over: {found.end}."
        return
    text = f"{found.side} to move, win rate {_rate(found.value)}"
    if found.mate > 0 or not found.candidates:
        text += f", {_line(found, None)}"
    yield f"{text}\n"
    if not found.candidates:
        return
    yield f"{'move':<6}{'win rate':>9}{'visits':>8}{'policy':>8}  line"
    for one in found.candidates:
        row = f"{one.move:<6}{_rate(one.value):>9}{one.visits:>8,}{one.prior * 100:>7.1f}%  "
        yield row + _line(one, width and width - len(row))
