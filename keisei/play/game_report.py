"""A report on the moves of a game, and the function ``analyse``, which makes it with a player."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from keisei.play.analysis import VERDICTS, Analysis, MoveReport, PositionReport
from keisei.play.players import Player
from keisei.records import GameRecord, read_game


@dataclass(frozen=True, slots=True, kw_only=True)
class GameReport:
    """What a player's tree search says of a game."""

    game: GameRecord
    player: str
    """Name of the player, ``<run>@<step>``."""
    simulations: int
    """Number of simulations for each position that were asked for."""
    seconds: float
    """Time that the analysis took."""
    moves: tuple[MoveReport, ...]
    """Reports on the analysed moves."""
    position: PositionReport
    """The position after the last analysed move."""

    def summary(self) -> dict[str, dict[str, float]]:
        """Return, for ``black`` and ``white``: number of moves, mean loss, number of each verdict.

        ``missed_mates`` counts the moves that gave up a mate. A side without an analysed move is
        left out.
        """
        found = {}
        for side in ("black", "white"):
            moves = [report for report in self.moves if report.before.side == side]
            if moves:
                found[side] = {
                    "moves": len(moves),
                    "mean_loss": fmean(report.loss for report in moves),
                    **{word: sum(r.verdict == word for r in moves) for word in VERDICTS},
                    "missed_mates": sum(r.missed_mate > 0 for r in moves),
                }
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object; docs/guide/analysis.md lists its fields."""
        return {
            **asdict(self.game),
            "player": self.player,
            "simulations": self.simulations,
            "seconds": round(self.seconds, 3),
            "analysed": [_move(report) for report in self.moves],
            "position": asdict(self.position),
            "summary": self.summary(),
        }


def _move(report: MoveReport) -> dict[str, Any]:
    """Return a move's report as a JSON object. All values are values for the side that moved."""
    before, after = report.before, report.after
    return {
        "ply": report.ply,
        "side": before.side,
        "move": report.move,
        "value_before": before.value,
        "value_after": -after.value,
        "mate_before": before.mate,
        "mate_after": -after.mate,
        "loss": report.loss,
        "verdict": report.verdict,
        "missed_mate": report.missed_mate,
        "line": before.line,
        "simulations": before.simulations,
        "candidates": [asdict(candidate) for candidate in before.candidates],
    }


def analyse(
    game: str | Path | GameRecord,
    player: Player,
    *,
    number: int = 1,
    first: int = 1,
    last: int | None = None,
    simulations: int = 400,
    seconds: float | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> GameReport:
    """Analyse the moves of a game with a player's network and a tree search.

    Args:
        game: path of a record file (KIF, KI2, CSA, USI), or the text of a USI line or an SFEN.
        player: player whose network is asked; ``keisei.load`` loads it.
        number: number of the game in its file, from 1.
        first, last: numbers of the first and last move that are analysed; by default, all moves.
        simulations: number of simulations for each position.
        seconds: time after which the search of all positions ends early; None: no limit.
        progress: function that is called with the finished share of the search, from 0 to 1.

    Raises:
        RecordError: the game cannot be read.
        ValueError: ``first``, ``last`` or ``simulations`` is out of range.
    """
    began = time.monotonic()
    record = game if isinstance(game, GameRecord) else read_game(game, number)
    analysis = Analysis(
        record.start,
        record.moves,
        first=first,
        last=last,
        simulations=simulations,
        trained_max_ply=player.max_ply,
        declaration=player.declaration,
    )
    deadline = began + (math.inf if seconds is None else seconds)
    while (leaves := analysis.request()) is not None:
        analysis.answer(*player.agent.assess(leaves.observation, leaves.mask))
        progress(analysis.progress)
        if time.monotonic() >= deadline:
            analysis.stop()
    return GameReport(
        game=record,
        player=player.name,
        simulations=simulations,
        moves=tuple(analysis.moves()),
        position=analysis.position(),
        seconds=time.monotonic() - began,
    )
