"""Write game records in KIF, CSA, USI and JSON format.

The rsshogi library writes KIF and CSA. This module corrects the parts of this output that other
programs cannot read. Descriptions of the formats: http://kakinoki.o.oo7.jp/kif_format.html,
http://www2.computer-shogi.org/protocol/record_v3.html.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
"""rsshogi's names for ends at which the side to move loses, by Keisei's reason for the end.

If the side to move loses for another reason, such as no_moves, the record says that this side
resigned.
"""
_USI_ENDS = {
    "RESIGN": "resign",
    # USI has no word for an illegal move. ``resign`` gives the win to the same side.
    "LOSE_BY_ILLEGAL_MOVE": "resign",
    "WIN_BY_DECLARATION": "win",
    "REPETITION_DRAW": "sennichite",
    "IMPASSE": "jishogi",
    "INTERRUPT": "max_moves",
}
"""End words of USI lines, by rsshogi's name for the end. ``read_games`` can read these words.

Any other end needs no end word, because the moves and the rules imply this end.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GameToWrite:
    """A finished game that is to be written."""

    black: str
    white: str
    result: Literal["black", "white", "draw", "capped"]
    reason: str
    """Why the game ended: checkmate, no_moves, repetition, perpetual_check, declaration, max_ply,
    resignation ..."""
    start: str
    """Start position: ``startpos`` or ``sfen ...``."""
    moves: Sequence[str]
    """Moves of the game in USI."""
    values: Sequence[float | None] = ()
    """Expected result before each move, for the side to move, from -1 to 1.

    None means that a value is unknown. An empty sequence means that all values are unknown.
    """
    event: str = ""
    """Name of the evaluation or other event in which the game was played."""
    time: float | None = None
    """Time of the game's end, in seconds since the epoch. KIF and CSA give it as local time."""


def write_usi(game: GameToWrite) -> str:
    """Return the game as one line: ``startpos moves ...`` or ``sfen ... moves ...``.

    An end word follows the last move: ``resign``, ``win``, ``sennichite``, ``jishogi`` or
    ``max_moves``. There is no end word after a mate, or if the side to move wins because of the
    other side's perpetual check.
    """
    end = _USI_ENDS.get(_end(game)[0])
    return " ".join([game.start, "moves", *game.moves, *([end] if end else [])]) + "\n"


def write_json(game: GameToWrite) -> str:
    """Return the game as one line of JSON, an object with the fields of GameToWrite."""
    return json.dumps(asdict(game), ensure_ascii=False) + "\n"


def write_kif(game: GameToWrite, comments: Sequence[str] = ()) -> str:
    """Return the game as KIF. Save the text as UTF-8, in a file whose name ends in ``.kifu``.

    The values and the reason for the end are written as comments. If ``comments`` are given, they
    replace the values: one comment for the start position, and one for each move. A game that was
    stopped at the maximum ply ends with 中断 (stopped), because KIF has no word for this end. Such
    a game is not a draw.

    Raises RecordError if a move is not legal.
    """
    kind, result = _end(game)
    if kind != "MATE":
        return _HEADER + _record(game, kind, result, comments).to_kif()
    # After a resignation, the last line of rsshogi's text names the winner. After a mate, the last
    # line does not name the winner, but some programs read only this line. So we write a
    # resignation, and then replace the word for resignation by the word for mate.
    text = _record(game, "RESIGN", result, comments).to_kif()
    before, _, after = text.rpartition("投了")
    return f"{_HEADER}{before}詰み{after}"


def write_csa(game: GameToWrite) -> str:
    """Return the game as CSA, version 3.0. Save the text as UTF-8.

    The values and the reason for the end are written as comments that programs can read. A game
    that was stopped at the maximum ply ends with %CHUDAN (stopped).

    Raises RecordError if a move is not legal.
    """
    text = _record(game, *_end(game)).to_csa(version="3.0")
    lines = text.splitlines()
    return "\n".join(_csa_rank(line) for line in lines if line not in {"P+", "P-"}) + "\n"


def _csa_rank(line: str) -> str:
    """Return a rank line in which ``*  ``, rsshogi's empty square, is replaced by `` * ``."""
    if not re.match("P[1-9]", line):
        return line
    squares = [line[i : i + 3] for i in range(2, 29, 3)]
    return line[:2] + "".join(" * " if square == "*  " else square for square in squares)


def _end(game: GameToWrite) -> tuple[str, str]:
    """Return rsshogi's names of the game's end and result."""
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


def _record(game: GameToWrite, kind: str, result: str, comments: Sequence[str] = ()) -> Record:
    start = START_SFEN if game.start == "startpos" else game.start.removeprefix("sfen ")
    values = game.values or [None] * len(game.moves)
    first, *others = comments or ["", *map(_value_comment, values)]
    ended = "" if game.time is None else strftime("%Y/%m/%d %H:%M:%S", localtime(game.time))
    try:
        return Record.from_main_line(
            start,
            [
                MoveEntry(move, comment=comment or None)
                for move, comment in zip(game.moves, others, strict=True)
            ],
            SpecialMoveEntry(kind, result),
            RecordMetadata(
                event=_one_line(game.event) or None,
                black_player=_one_line(game.black),
                white_player=_one_line(game.white),
                end_date=ended or None,
            ),
            initial_comment=f"end: {_one_line(game.reason)}\n{first}".strip(),
        )
    except ValueError as error:
        raise RecordError(f"{game.event}: {error}") from error


def _value_comment(value: float | None) -> str:
    return "" if value is None else f"value {value:+.4g}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
