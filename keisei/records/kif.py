"""Read KIF and KI2 records: http://kakinoki.o.oo7.jp/kif_format.html.

The two formats have the same headers, diagrams and comments, but they write moves differently. KIF
writes the number of each move, and the origin square of each move that is not a drop. KI2 writes
the mover's side, and only those details that distinguish the move from other legal moves. Some
programs mix the two formats, so one reader reads both.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from keisei.records.ends import UNKNOWN, End, read_end, read_summary
from keisei.records.game import GameRecord
from keisei.records.moves import Moves
from keisei.records.start import (
    HANDICAPS,
    KANJI,
    PROMOTED,
    StartPosition,
    is_row,
    read_hand,
    read_rows,
)
from keisei.shogi import START_SFEN

_BLACK, _WHITE = "▲☗▼", "△☖▽"
_NUMBERED = re.compile(r"\s*([0-9]+)[\s.]+(\S.*)", re.DOTALL)
_MOVE = re.compile(
    rf"([{_BLACK}{_WHITE}]?)\s*(?:(同)|([1-9１-９])([一二三四五六七八九1-9１-９]))\s*"
    rf"(成[香桂銀]|[{''.join(KANJI)}])([左右直上行引寄入]*)(不成|成|打|生|不)?"
    r"\s*(?:[(（]([1-9])([1-9])[)）])?"
)
_TIME = re.compile(r"[(（][\s0-9:.,/]*[)）]")
_WORD = re.compile(r"(?:[^\W\d]|[- ・])+|[^\W\d]*\ufffd.*")
_MOVE_LIKE = re.compile(rf"[同{_BLACK}{_WHITE}]|.*[{''.join(KANJI)}](?:不?成|打)")
_HEADER = re.compile(r"[^\s:：]+:|.*：", re.DOTALL)
_BEGINS = re.compile("手合割|開始日時|対局日|棋戦|表題|作品名|作品番号|[先後上下]手(?:の持ち?駒)?")
"""Names of those header lines that begin a new game."""
_FRAME = re.compile(r"[-+=─━┌┐└┘┏┓┗┛\s0-9０-９]*")
_RANKS = dict(zip("一二三四五六七八九123456789１２３４５６７８９", "abcdefghi" * 3, strict=True))

_Line = tuple[int, str, str]
"""Line number, kind and text of a line that is not a comment."""


def split(lines: list[str]) -> Iterator[tuple[int, list[_Line]]]:
    """For each game of a file, yield the number of its first line, and all its lines."""
    first, part = 1, list[_Line]()
    played = ended = varied = False
    for number, line in enumerate(lines, 1):
        kind, text = _kind(line)
        again = not varied and (
            (kind == "move" and text.split(maxsplit=1)[0].strip(".") == "1")
            or (kind == "moves" and ended)
        )
        if played and (again or kind in {"rule", "row"} or _begins(kind, text)):
            if first == 1 or _is_game(part):
                yield first, part
            first, part = number, []
            played = ended = varied = False
        played = played or kind in {"move", "moves", "summary", "variation"}
        ended = ended or kind == "summary"
        varied = varied or kind == "variation"
        if kind != "skip" and not varied:
            part.append((number, kind, text))
    if first == 1 or _is_game(part):
        yield first, part


def _is_game(part: list[_Line]) -> bool:
    """Return whether these lines contain a game.

    Header lines alone are not a game: some programs write header lines after the last game.
    """
    return any(kind not in {"header", "turn", "other"} for _, kind, _ in part)


def _kind(line: str) -> tuple[str, str]:
    """Return the kind of a line, and its text without leading and trailing spaces."""
    text = line.strip()
    if not text or text[0] in "#*&" or _FRAME.fullmatch(text):
        return "skip", ""
    if text.startswith("変化"):
        return "variation", text
    if text.startswith("まで"):
        return "summary", text
    if text.startswith(("手数-", "手数ー", "手数─")):
        return "rule", text
    if text.startswith(("手数＝", "手数=")):
        return "last", text
    if is_row(text):
        return "row", text
    if "：" not in text and _NUMBERED.match(text):
        return "move", text
    if "：" not in text and (text[0] in _BLACK + _WHITE or _MOVE.match(text)):
        return "moves", text
    if re.match("[先後上下]手番", text):
        return "turn", text
    return ("header" if _HEADER.match(text) else "other"), text


def _begins(kind: str, text: str) -> bool:
    """Return whether a line of this kind and text begins a new game."""
    return kind == "header" and _BEGINS.fullmatch(_name_and_value(text)[0]) is not None


def _name_and_value(header: str) -> tuple[str, str]:
    name, value = re.split("[:：]", header, maxsplit=1)
    return name.strip(), value.strip()


def read(lines: Iterable[_Line], source: str) -> GameRecord:
    """Read one game from its lines.

    Raises ValueError if the game cannot be used. The message gives the number of the bad line.
    """
    reader = _KifReader()
    for number, kind, text in lines:
        try:
            reader.read_line(kind, text)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    end = reader.end if reader.end not in {None, UNKNOWN} else reader.summary
    game = reader.begun().record(end or UNKNOWN, source)
    return replace(game, black=reader.players["black"], white=reader.players["white"])


def read_start(lines: Iterable[_Line]) -> str:
    """Return the start position of a game as an SFEN; the game may have no moves.

    Raises ValueError if the start position cannot be used.
    """
    reader = _KifReader()
    for number, kind, text in lines:
        if kind in {"move", "moves", "summary"}:
            break
        try:
            reader.read_line(kind, text)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return reader.begun().start


class _KifReader:
    """Reader of one game. Call ``read_line`` for each line of the game in order."""

    def __init__(self) -> None:
        self.end: End | None = None
        self.summary: End | None = None
        self.players = {"black": "", "white": ""}
        self._handicap: str | None = None
        self._rows: list[str] = []
        self._hands: dict[str, str] = {}
        self._side = ""
        self._last = ""
        """Destination square of the previous move; 同 means this square."""
        self._moves: Moves | None = None

    def read_line(self, kind: str, text: str) -> None:
        """Read one line. Raises ValueError if the line is not valid."""
        if kind == "move":
            self._read_numbered_move(text)
        elif kind == "moves":
            self._read_marked_moves(text)
        elif kind == "summary":
            self.summary = self.summary or read_summary(text)
        elif self._moves is not None or self.summary is not None:
            if kind == "other" and self.end is None and self.summary is None:
                raise ValueError(f"neither a move nor an end word: {text[:60]}")
        elif kind == "row":
            self._rows.append(text)
        elif kind == "turn":
            self._side = text[0]
        elif kind == "last":
            match = _MOVE.search(text)
            self._last = _square(match, "") if match else ""
        elif kind == "header":
            self._read_header(text)
        elif kind == "other":
            raise ValueError(f"neither a header line nor a move: {text[:60]}")

    def _read_header(self, text: str) -> None:
        name, value = _name_and_value(text)
        if name == "手合割":
            self._handicap = value
        elif name == "手番" and value:
            self._side = value[0]
        elif re.fullmatch("[先後上下]手", name):
            self.players["black" if name[0] in "先下" else "white"] = value
        elif re.fullmatch("[先後上下]手の持ち?駒", name):
            self._hands["black" if name[0] in "先下" else "white"] = value

    def begun(self) -> Moves:
        """Return the moves read so far. The first call completes the start position."""
        if self._moves is None:
            start, origin = self._start()
            if self._side:
                start.white_to_move = self._side in "後上"
            self._moves = Moves(start.sfen(), origin)
        return self._moves

    def _start(self) -> tuple[StartPosition, str]:
        """Return the start position, and a text that says which part of the record gives it.

        Raises ValueError if the record does not give a valid start position.
        """
        name = self._handicap
        black, white = (read_hand(self._hands.get(side, "")) for side in ("black", "white"))
        if self._rows:
            start = StartPosition()
            start.board = read_rows(self._rows)
            start.hands = black + Counter({piece.lower(): n for piece, n in white.items()})
            start.white_to_move = " w " in HANDICAPS.get(name or "", "")
            return start, "the diagram"
        if black or white or (self._hands and name is None):
            raise ValueError("the record has the hands of a diagram, but not its nine ranks")
        if name is None:
            origin = "no 手合割 is given, so the game began from the usual start"
            return StartPosition.read(START_SFEN), origin
        if name in HANDICAPS:
            return StartPosition.read(HANDICAPS[name]), f"手合割：{name}"
        near = [known for known in HANDICAPS if name and name in known]
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {' '.join(HANDICAPS)}"
        raise ValueError(f"手合割：{name}: unknown handicap, and the record has no diagram; {hint}")

    def _read_numbered_move(self, text: str) -> None:
        """Read a line with a move or an end word, such as ``3 ２二角成(88) ( 0:16/00:00:16)``."""
        move = _NUMBERED.match(text)[2]  # type: ignore[index]
        moves = self.begun()
        if self.end is not None or self.summary is not None:
            raise ValueError(f"{text[:60]} comes after the end of the game")
        match = _MOVE.match(move)
        if match is None:
            word = re.split("[(（]", move, maxsplit=1)[0].strip()
            self.end = read_end(word)
            if self.end is UNKNOWN and (_MOVE_LIKE.match(word) or not _WORD.fullmatch(word)):
                raise ValueError(f"neither a move nor an end word: {move[:60]}")
            return
        rest = move[match.end() :]
        after = rest.strip()
        timed = _TIME.match(after) is not None
        if after and not timed and (after[0] in "(（" or not (rest[0].isspace() or rest == "+")):
            raise ValueError(f"not a move: {move[:60]}")
        self._push(moves, match)

    def _read_marked_moves(self, text: str) -> None:
        """Read a line of one or more moves, such as ``▲７六歩 △３四歩``."""
        moves = self.begun()
        if self.end is not None or self.summary is not None:
            raise ValueError(f"{text[:60]} comes after the end of the game")
        at = 0
        while at < len(text):
            match = _MOVE.match(text, at)
            if match is None:
                raise ValueError(f"not a move: {text[at : at + 60]}")
            self._push(moves, match)
            at = match.end()

    def _push(self, moves: Moves, match: re.Match[str]) -> None:
        """Make the move that ``_MOVE`` matched; if the move is not legal, only remember the move.

        Raises ValueError if the move has the mark of the wrong side, or if several pieces can make
        the move.
        """
        move, mark, kanji, hints = match[0].strip(), match[1], match[5], match[6]
        if mark and (mark in _WHITE) != moves.white_to_move:
            colours = ("white", "black") if mark in _WHITE else ("black", "white")
            raise ValueError(
                f"{move}: {mark} marks {colours[0]}'s move, but {colours[1]} is to move"
            )
        to = self._last = _square(match, self._last)
        piece = "+" * (kanji[0] in PROMOTED or len(kanji) == 2) + KANJI[kanji[-1]]
        promotion = "+" if match[7] == "成" else ""
        if match[8]:
            origin = match[8] + _RANKS[match[9]]
            if moves.piece(origin) == moves.own(piece):
                moves.push(origin + to + promotion)
            else:
                found = moves.piece(origin)
                moves.refuse(
                    move, f"not legal: {origin} {f'holds {found}' if found else 'is empty'}"
                )
            return
        movers = [] if match[7] == "打" else moves.movers(piece, to, promotion)
        origins = _narrow(movers, to, hints, piece, white=moves.white_to_move)
        if len(origins) > 1:
            raise ValueError(f"{move}: the piece can come from {' or '.join(sorted(origins))}")
        if origins:
            moves.push(origins[0] + to + promotion)
        elif movers or hints or promotion or len(piece) > 1:
            moves.refuse(move, "not legal")
        else:
            moves.push(f"{piece}*{to}")


def _square(match: re.Match[str], last: str) -> str:
    """Return the USI name of a move's destination square. For 同, this square is ``last``.

    Raises ValueError if the first move contains 同, because ``last`` is empty then.
    """
    if match[2] is None:
        return f"{int(match[3])}{_RANKS[match[4]]}"
    if not last:
        raise ValueError(f"{match[0].strip()}: no move comes before this move")
    return last


def _narrow(origins: list[str], to: str, hints: str, piece: str, *, white: bool) -> list[str]:
    """Return those ``origins`` that fit KI2's hints, such as 右 (from the mover's right)."""
    side = -1 if white else 1

    def right(origin: str) -> int:
        return side * (int(to[0]) - int(origin[0]))

    def behind(origin: str) -> int:
        return side * (ord(origin[1]) - ord(to[1]))

    for hint in hints:
        if hint in "上行入":
            origins = [o for o in origins if behind(o) > 0]
        elif hint == "引":
            origins = [o for o in origins if behind(o) < 0]
        elif hint == "寄":
            origins = [o for o in origins if behind(o) == 0]
        elif hint == "直":
            origins = [o for o in origins if behind(o) > 0 and right(o) == 0]
    for hint, sign in (("右", 1), ("左", -1)):
        if hint in hints and piece[-1] in "BR":
            # A rook, dragon or horse can come from straight above or below the destination. So 右
            # means the rightmost origin here, and 左 the leftmost.
            outermost = max((sign * right(o) for o in origins), default=0)
            origins = [o for o in origins if sign * right(o) == outermost]
        elif hint in hints:
            origins = [o for o in origins if sign * right(o) > 0]
    return origins
