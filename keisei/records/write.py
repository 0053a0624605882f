"""Writing game records: KIF, CSA and USI.

KIF and CSA are rsshogi's work but for what its writer leaves to be put right here. The formats:
http://kakinoki.o.oo7.jp/kif_format.html, http://www2.computer-shogi.org/protocol/record_v3.html.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from time import localtime, strftime
from typing import Literal

from rsshogi.record import MoveEntry, Record, RecordMetadata, SpecialMoveEntry

from keisei.records.game import RecordError
from keisei.shogi import START_SFEN

_HEADER = "#KIF version=2.0 encoding=UTF-8\n"
_LOSSES = {
    "checkmate": "MATE",
    "illegal_move": "LOSE_BY_ILLEGAL_MOVE",
    "perpetual_check": "LOSE_BY_ILLEGAL_MOVE",
}
"""Ends by which the side to move loses; no_moves and all others are written as its resignation."""
_USI_ENDS = {
    "RESIGN": "resign",
    "LOSE_BY_ILLEGAL_MOVE": "resign",  # USI has no word for it; this one tells the winner
    "WIN_BY_DECLARATION": "win",
    "REPETITION_DRAW": "sennichite",
    "IMPASSE": "jishogi",
    "INTERRUPT": "max_moves",
}
"""What ``read_games`` takes for the end of a USI line. Where there is none, the rules tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GameToWrite:
    """A game to be written."""

    black: str
    white: str
    result: Literal["black", "white", "draw", "capped"]
    reason: str
    """checkmate, no_moves, repetition, perpetual_check, declaration, max_ply, resignation ..."""
    start: str
    """``startpos`` or ``sfen ...``."""
    moves: Sequence[str]
    """In USI."""
    values: Sequence[float | None] = ()
    """What the mover expected before each move, in [-1, 1]; None: unknown. Empty: all unknown."""
    event: str = ""
    """Which evaluation, or whatever else the game belongs to."""
    time: float | None = None
    """When it ended, seconds since the epoch; written in local time."""


def write_usi(game: GameToWrite) -> str:
    """One line: ``startpos moves ...`` or ``sfen ... moves ...``.

    Behind the last move ``resign``, ``win``, ``sennichite``, ``jishogi`` or ``max_moves``, where the
    game did not end by mate.
    """
    end = _USI_ENDS.get(_end(game)[0])
    return " ".join([game.start, "moves", *game.moves, *([end] if end else [])]) + "\n"


def write_kif(game: GameToWrite) -> str:
    """KIF, to be kept as UTF-8 in a file whose name ends in ``.kifu``. Raises RecordError.

    Values and the reason are comments. A game that was cut at a number of moves is 中断: KIF has no
    word for it, and it is no draw.
    """
    kind, result = _end(game)
    if kind != "MATE":
        return _HEADER + _record(game, kind, result).to_kif()
    # The line below the end names the winner of a game that was resigned, but not of one that was
    # mated, and there are readers that look at that line alone.
    before, _, after = _record(game, "RESIGN", result).to_kif().rpartition("投了")
    return f"{_HEADER}{before}詰み{after}"


def write_csa(game: GameToWrite) -> str:
    """CSA, version 3.0, to be kept as UTF-8. Raises RecordError.

    Values and the reason are comments that programs read. A game that was cut at a number of moves
    is %CHUDAN.
    """
    text = _record(game, *_end(game)).to_csa(version="3.0")
    lines = text.splitlines()
    return "\n".join(_csa_rank(line) for line in lines if line not in {"P+", "P-"}) + "\n"


def _csa_rank(line: str) -> str:
    """A rank of the board with empty squares as the standard has them: rsshogi's are ``*  ``."""
    if not re.match("P[1-9]", line):
        return line
    squares = [line[i : i + 3] for i in range(2, 29, 3)]
    return line[:2] + "".join(" * " if square == "*  " else square for square in squares)


def _end(game: GameToWrite) -> tuple[str, str]:
    """Kind and result, in rsshogi's words."""
    if game.result == "capped":
        return "INTERRUPT", "PAUSED"
    if game.result == "draw":
        if game.reason == "repetition":
            return "REPETITION_DRAW", "DRAW_BY_REPETITION"
        return "IMPASSE", "DRAW_BY_IMPASSE"
    result = f"{game.result.upper()}_WIN"
    white_to_move = (game.start.split()[2:3] == ["w"]) ^ bool(len(game.moves) % 2)
    if white_to_move != (game.result == "white"):
        return _LOSSES.get(game.reason, "RESIGN"), result
    return ("WIN_BY_DECLARATION" if game.reason == "declaration" else "WIN_BY_ILLEGAL_MOVE"), result


def _record(game: GameToWrite, kind: str, result: str) -> Record:
    start = START_SFEN if game.start == "startpos" else game.start.removeprefix("sfen ")
    values = game.values or [None] * len(game.moves)
    ended = "" if game.time is None else strftime("%Y/%m/%d %H:%M:%S", localtime(game.time))
    try:
        return Record.from_main_line(
            start,
            [
                MoveEntry(move, comment=None if value is None else f"value {value:+.4g}")
                for move, value in zip(game.moves, values, strict=True)
            ],
            SpecialMoveEntry(kind, result),
            RecordMetadata(
                event=_one_line(game.event) or None,
                black_player=_one_line(game.black),
                white_player=_one_line(game.white),
                end_date=ended or None,
            ),
            initial_comment=f"end: {_one_line(game.reason)}",
        )
    except ValueError as error:
        raise RecordError(f"{game.event}: {error}") from error


def _one_line(text: str) -> str:
    return " ".join(text.split())
