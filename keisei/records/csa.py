"""Reading CSA: http://www2.computer-shogi.org/protocol/record_v3.html."""

import re
from collections.abc import Iterable, Iterator

from keisei.records.ends import UNKNOWN, End, read_end
from keisei.records.game import GameRecord
from keisei.records.moves import Moves
from keisei.records.start import StartPosition

_PIECES = {
    "FU": "P", "KY": "L", "KE": "N", "GI": "S", "KI": "G", "KA": "B", "HI": "R", "OU": "K",
    "TO": "+P", "NY": "+L", "NK": "+N", "NG": "+S", "UM": "+B", "RY": "+R",
}  # fmt: skip
_SQUARES = {f"{f}{r}": f"{f}{'abcdefghi'[r - 1]}" for f in range(1, 10) for r in range(1, 10)}
_PLACED = re.compile(r"(?:[0-9]{2}[A-Z]{2})*")
_MOVE = re.compile(r"([+-])(\d\d)(\d\d)([A-Z]{2})", re.ASCII)


def split(lines: list[str]) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """The games of a file, each with the number of its first line; ``/`` stands between two."""
    begin = 0
    for end in (*(n for n, line in enumerate(lines) if line.strip() == "/"), len(lines)):
        part = list(enumerate(lines[begin:end], begin + 1))
        if any(line.strip() and not line.startswith("'") for _, line in part):
            yield begin + 1, part
        begin = end + 1


def read(lines: Iterable[tuple[int, str]], source: str) -> GameRecord:
    """One game. Raises ValueError, naming the line."""
    game = _Game()
    for number, line in lines:
        try:
            for statement in _statements(line):
                game.take(statement)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return game.begun().record(game.end or UNKNOWN, source)


def _statements(line: str) -> list[str]:
    """What a line says: several statements may stand in one, but not behind free text."""
    if line.startswith(("'", "N", "$", "V")):
        return []
    told = line.partition(",'")[0]
    return [text for text in map(str.strip, told.split(",")) if text]


class _Game:
    """A game while it is read."""

    def __init__(self) -> None:
        self.end: End | None = None
        self._start: StartPosition | None = None
        self._side = ""
        self._moves: Moves | None = None

    def begun(self, sign: str = "+") -> Moves:
        """The moves; with the first of them, by ``sign``, the start is complete."""
        if self._moves is None:
            told = "as the P lines tell it"
            if self._start is None:
                told = "no P line names it, so the even one was taken"
                self._start = StartPosition.even()
            self._start.white_to_move = (self._side or sign) == "-"
            self._moves = Moves(self._start.sfen(), told)
        return self._moves

    def take(self, text: str) -> None:
        """One statement. Raises ValueError."""
        if text.startswith("'") or re.fullmatch(r"T[0-9.]*", text):
            return
        if text.startswith("%"):
            self.begun()
            self.end = self.end or read_end(text)
        elif text in {"+", "-"} and self._moves is None:
            self._side = text
        elif text.startswith("P") and self._moves is None:
            self._place(text)
        elif match := _MOVE.fullmatch(text):
            self._move(text, *match.groups())
        else:
            raise ValueError(f"not a line of CSA: {text[:60]}")

    def _move(self, text: str, sign: str, begin: str, to: str, name: str) -> None:
        moves = self.begun(sign)
        if self.end is not None:
            raise ValueError(f"{text} stands behind the end of the game")
        if (sign == "-") != moves.white_to_move:
            raise ValueError(f"{text}: it is {'-+'[sign == '-']}'s move")
        piece, square = _PIECES.get(name), _SQUARES.get(to)
        if piece is None or square is None or (begin != "00" and begin not in _SQUARES):
            raise ValueError(f"not a move: {text}")
        if begin == "00":
            moves.push(f"{piece}*{square}")
            return
        origin = _SQUARES[begin]
        man = moves.piece(origin)
        if man == moves.own(piece):
            moves.push(origin + square)
        elif man and "+" + man == moves.own(piece):
            moves.push(f"{origin}{square}+")
        else:
            moves.refuse(text, f"not legal: on {origin} stands {man or 'nothing'}")

    def _place(self, text: str) -> None:
        """A line of the start position."""
        start = self._start = self._start or StartPosition()
        if text.startswith("PI"):
            self._start = StartPosition.even()
            for place, name in _placed(text):
                man = self._start.board.pop(_SQUARES.get(place, ""), "")
                if man.upper() != _PIECES.get(name):
                    raise ValueError(f"{text}: there is no {name} on {place}")
        elif match := re.fullmatch(r"P([1-9])(.*)", text):
            _row(start, int(match[1]), match[2])
        elif text.startswith(("P+", "P-")):
            _pieces(start, text)
        else:
            raise ValueError(f"not a line of CSA: {text[:60]}")


def _row(start: StartPosition, rank: int, text: str) -> None:
    """``P1-KY-KE ... * ``: nine squares of three letters."""
    for file in range(9, 0, -1):
        cell = text[27 - 3 * file : 30 - 3 * file].strip()
        if cell in {"", "*"}:
            continue
        piece = _PIECES.get(cell[1:])
        if piece is None or cell[0] not in "+-":
            raise ValueError(f"P{rank}: no piece: {cell}")
        start.board[f"{file}{'abcdefghi'[rank - 1]}"] = piece.lower() if cell[0] == "-" else piece
    if text[27:].strip():
        raise ValueError(f"P{rank}: more than nine squares")


def _pieces(start: StartPosition, text: str) -> None:
    """``P+59OU00KI`` or ``P-00AL``: single pieces; square 00 is the hand, AL all that is left."""
    white = text[1] == "-"
    for place, name in _placed(text):
        piece = _PIECES.get(name, "")
        if (place, name) == ("00", "AL"):
            start.give_rest(white=white)
        elif place == "00" and len(piece) == 1 and piece != "K":
            start.hands[piece.lower() if white else piece] += 1
        elif place in _SQUARES and piece and _SQUARES[place] not in start.board:
            start.board[_SQUARES[place]] = piece.lower() if white else piece
        else:
            raise ValueError(f"{text[:60]}: {place}{name} cannot be placed")


def _placed(text: str) -> list[tuple[str, str]]:
    """The places and pieces behind ``PI``, ``P+`` or ``P-``."""
    told = text[2:]
    if not _PLACED.fullmatch(told):
        raise ValueError(f"not a line of CSA: {text[:60]}")
    return [(told[i : i + 2], told[i + 2 : i + 4]) for i in range(0, len(told), 4)]
