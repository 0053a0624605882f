"""The table of ``keisei analyse`` on terminals and in pipes."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from keisei.cli.analysis_table import show
from keisei.play.analysis import Candidate, MoveReport, PositionReport
from keisei.play.game_report import GameReport
from keisei.records import GameRecord
from keisei.shogi import START_SFEN

LINE = ("8h2b+", "3a2b", "B*4e", "5a6b", "4e3d", "6b7b", "3d5f", "7b8b", "2g2f")


def position(side: str, value: float, **more: object) -> PositionReport:
    one = Candidate(move=LINE[0], prior=0.25, visits=300, value=value, mate=0, line=LINE)
    given = {"line": LINE, "candidates": (one,), "simulations": 400, **more}
    return PositionReport(side=side, value=value, **given)  # type: ignore[arg-type]


GAME = GameRecord(
    START_SFEN, ("7g7f", "3c3d"), "white", "resign", "game.kif:1", "甲野 太郎[bold]", "乙山"
)
MOVES = (
    MoveReport(ply=1, move="7g7f", before=position("black", 0.2), after=position("white", 0.2)),
    MoveReport(
        ply=2, move="3c3d", before=position("white", 1.0, mate=3, line=("B*4e",)),
        after=position("black", 0.8), missed_mate=3,
    ),
)  # fmt: skip
REPORT = GameReport(
    game=GAME, player="shipped@5", simulations=400, seconds=1.25, moves=MOVES,
    position=position("black", 0.8),
)  # fmt: skip


def shown(report: GameReport, **options: object) -> str:
    out = io.StringIO()
    show(report, Console(file=out, highlight=False, **options))  # type: ignore[arg-type]
    return out.getvalue()


def test_the_table_tells_win_rates_losses_verdicts_and_lines() -> None:
    lines = shown(REPORT).splitlines()
    assert lines[0] == ("game.kif:1: 甲野 太郎[bold] against 乙山, 2 moves, white won (resign)")
    assert lines[1] == "shipped@5, 400 simulations for each position, 1.2 s"
    assert lines[5].split()[:7] == ["1", "b", "7g7f", "60.0", "40.0", "20.0", "mistake"]
    assert lines[5].split()[7:] == list(LINE[:8])
    assert " ".join(lines[6].split()) == "2 w 3c3d 100.0 10.0 90.0 missed mate mate in 3: B*4e"
    assert lines[8].split()[:2] == ["moves", "mean"]
    assert lines[9].split() == ["black", "1", "20.0", "0", "1", "0", "0", "0"]
    assert lines[10].split() == ["white", "1", "90.0", "1", "0", "0", "0", "1"]


def test_a_terminal_of_80_columns_shows_whole_moves() -> None:
    lines = shown(REPORT, width=80, force_terminal=True, no_color=True).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines[5].endswith(" ".join(LINE[:6]))


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = {"width": 80, "force_terminal": True, "color_system": "standard"}
    assert "\x1b[" not in shown(REPORT)
    assert "\x1b[31m" in shown(REPORT, **coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown(REPORT, **coloured)


def test_a_single_position_shows_its_moves() -> None:
    alone = replace(REPORT, moves=(), game=replace(GAME, moves=()))
    lines = shown(alone).splitlines()
    assert lines[0] == START_SFEN
    assert "black to move, win rate 90.0" in lines
    assert lines[-1].split() == ["8h2b+", "90.0", "300", "25.0%", *LINE[:8]]
    over = replace(alone, position=PositionReport(side="white", value=-1, end="checkmate"))
    assert shown(over).splitlines()[-1] == "The game is over: checkmate."
