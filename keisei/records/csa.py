"""Reads CSA records: http://www2.computer-shogi.org/protocol/record_v3.html."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

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
    """Split a file into games at lines that contain only ``/``.

    For each game, yield the line number at which the game begins, and the game's lines as pairs of
    line number and text. A part of the file that contains only comments and empty lines is skipped.
    """
    begin = 0
    for end in (*(n for n, line in enumerate(lines) if line.strip() == "/"), len(lines)):
        part = list(enumerate(lines[begin:end], begin + 1))
        if any(line.strip() and not line.startswith("'") for _, line in part):
            yield begin + 1, part
        begin = end + 1


def read(lines: Iterable[tuple[int, str]], source: str) -> GameRecord:
    """Read one game from pairs of a line number and a line.

    Raises ValueError if the game cannot be used. If a line is wrong, the message gives the line's
    number.
    """
    reader = _CsaReader()
    players = {"+": "", "-": ""}
    for number, line in lines:
        if line.startswith(("N+", "N-")):
            players[line[1]] = line[2:].strip()
        try:
            for statement in _statements(line):
                reader.read_statement(statement)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    game = reader.begun().record(reader.end or UNKNOWN, source)
    return replace(game, black=players["+"], white=players["-"])


def read_start(lines: Iterable[tuple[int, str]]) -> str:
    """Return the start position of a game as an SFEN; the game may have no moves.

    Raises ValueError if the start position cannot be used.
    """
    reader, sign = _CsaReader(), "+"
    for number, statement in ((number, s) for number, line in lines for s in _statements(line)):
        if statement.startswith("%") or _MOVE.fullmatch(statement):
            sign = statement[0]
            break
        try:
            reader.read_statement(statement)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return reader.begun(sign).start


def _statements(line: str) -> list[str]:
    """Split a line into statements. Comments, names, ``$`` lines and the version are left out."""
    if line.startswith(("'", "N", "$", "V")):
        return []
    before_comment = line.partition(",'")[0]
    return [text for text in map(str.strip, before_comment.split(",")) if text]


class _CsaReader:
    """Reader of one game. Call ``read_statement`` for each statement of the game in order."""

    def __init__(self) -> None:
        self.end: End | None = None
        self._start: StartPosition | None = None
        self._side = ""
        self._moves: Moves | None = None

    def begun(self, sign: str = "+") -> Moves:
        """Return the moves read so far. The first call completes the start position.

        ``sign`` is the side that moves first: ``+`` is black, ``-`` is white. This argument is
        ignored if a line of the record names the side that moves first.
        """
        if self._moves is None:
            origin = "it was taken from the P lines"
            if self._start is None:
                origin = "no P line sets it, so the game began from the usual one"
                self._start = StartPosition.even()
            self._start.white_to_move = (self._side or sign) == "-"
            self._moves = Moves(self._start.sfen(), origin)
        return self._moves

    def read_statement(self, text: str) -> None:
        """Read one statement. Raises ValueError if the statement is not valid."""
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
            raise ValueError(f"{text} comes after the end of the game")
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
            moves.refuse(text, f"not legal: {origin} {f'holds {man}' if man else 'is empty'}")

    def _place(self, text: str) -> None:
        """Read a ``P`` line, which gives the start position or a part of it."""
        start = self._start = self._start or StartPosition()
        if text.startswith("PI"):
            self._start = StartPosition.even()
            for place, name in _placed(text):
                man = self._start.board.pop(_SQUARES.get(place, ""), "")
                if man.upper() != _PIECES.get(name):
                    raise ValueError(f"{text}: there is no {name} on {place}")
        elif match := re.fullmatch(r"P([1-9])(.*)", text):
            _place_rank(start, int(match[1]), match[2])
        elif text.startswith(("P+", "P-")):
            _place_pieces(start, text)
        else:
            raise ValueError(f"not a line of CSA: {text[:60]}")


def _place_rank(start: StartPosition, rank: int, text: str) -> None:
    """Place the pieces of a rank from a line such as ``P1-KY-KE ... * ``.

    Each square takes three characters of the line.
    """
    for file in range(9, 0, -1):
        cell = text[27 - 3 * file : 30 - 3 * file].strip()
        if cell in {"", "*"}:
            continue
        piece = _PIECES.get(cell[1:])
        if piece is None or cell[0] not in "+-":
            raise ValueError(f"P{rank}: not a piece: {cell}")
        start.board[f"{file}{'abcdefghi'[rank - 1]}"] = piece.lower() if cell[0] == "-" else piece
    if text[27:].strip():
        raise ValueError(f"P{rank}: more than nine squares")


def _place_pieces(start: StartPosition, text: str) -> None:
    """Place single pieces from a line such as ``P+59OU00KI`` or ``P-00AL``.

    Square 00 means the hand. AL means all pieces that are not placed yet.
    """
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
    """Return the pairs of square and piece name that follow ``PI``, ``P+`` or ``P-``."""
    pairs = text[2:]
    if not _PLACED.fullmatch(pairs):
        raise ValueError(f"not a line of CSA: {text[:60]}")
    return [(pairs[i : i + 2], pairs[i + 2 : i + 4]) for i in range(0, len(pairs), 4)]
