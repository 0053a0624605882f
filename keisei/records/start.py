"""Start positions of records: handicaps, KIF diagrams, and boards set up piece by piece.

If a start position cannot be read, the functions raise ValueError. They never use the usual start
position instead.
"""

import re
from collections import Counter
from collections.abc import Sequence

from keisei.shogi import START_SFEN

_UPPER_HAND = {
    "香落ち": "lnsgkgsn1/1r5b1",
    "右香落ち": "1nsgkgsnl/1r5b1",
    "角落ち": "lnsgkgsnl/1r7",
    "飛車落ち": "lnsgkgsnl/7b1",
    "飛香落ち": "lnsgkgsn1/7b1",
    "二枚落ち": "lnsgkgsnl/9",
    "三枚落ち": "lnsgkgsn1/9",
    "四枚落ち": "1nsgkgsn1/9",
    "五枚落ち": "2sgkgsn1/9",
    "左五枚落ち": "1nsgkgs2/9",
    "六枚落ち": "2sgkgs2/9",
    "左七枚落ち": "2sgkg3/9",
    "右七枚落ち": "3gkgs2/9",
    "八枚落ち": "3gkg3/9",
    "十枚落ち": "4k4/9",
}
"""First two ranks of each handicap's board in SFEN, by the KIF name of the handicap."""
HANDICAPS = {"平手": START_SFEN} | {
    name: f"{ranks}/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1"
    for name, ranks in _UPPER_HAND.items()
}
KANJI = {
    **dict(zip("歩香桂銀金角飛玉王", "PLNSGBRKK", strict=True)),
    **dict(zip("と杏仝圭全馬龍竜", "PLLNSBRR", strict=True)),
}
"""SFEN letter of the unpromoted piece, by the kanji of the piece."""
PROMOTED = frozenset("と杏仝圭全馬龍竜")
_NUMBERS = "〇一二三四五六七八九"
_EMPTY = "・･.．"
_CELL = re.compile(rf"([ 　vV]?)([{_EMPTY}{''.join(KANJI)}])")
_ROW = re.compile(rf"\|?((?:{_CELL.pattern}){{9}})\s?\|?\s*([一二三四五六七八九]?)")
_HELD = re.compile(r"([歩香桂銀金角飛])(?:([0-9０-９]{1,2})|(十?[一二三四五六七八九]?))")
_SET = {"P": 18, "L": 4, "N": 4, "S": 4, "G": 4, "B": 2, "R": 2}


class StartPosition:
    """A start position that is being set up."""

    def __init__(self) -> None:
        self.board: dict[str, str] = {}
        """SFEN letters of the piece on each occupied square, by USI square name."""
        self.hands: Counter[str] = Counter()
        """Number of pieces in hand, by SFEN letter; capitals are black's pieces."""
        self.white_to_move = False

    @classmethod
    def read(cls, sfen: str) -> "StartPosition":
        """Return the start position that a valid SFEN gives."""
        start = cls()
        board, side, hands = sfen.split()[:3]
        for rank, row in zip("abcdefghi", board.split("/"), strict=True):
            file = 9
            for piece in re.findall(r"\+?[a-zA-Z]|[1-9]", row):
                if piece.isdigit():
                    file -= int(piece)
                else:
                    start.board[f"{file}{rank}"] = piece
                    file -= 1
        for count, piece in re.findall(r"(\d*)([a-zA-Z])", hands):
            start.hands[piece] = int(count or 1)
        start.white_to_move = side == "w"
        return start

    @classmethod
    def even(cls) -> "StartPosition":
        """Return the usual start position, without a handicap."""
        start = cls()
        start.board = dict(_EVEN)
        return start

    def sfen(self) -> str:
        """Return the position as an SFEN. This method does not check the position."""
        board = START_SFEN.split()[0] if self.board == _EVEN else self._ranks()
        held = ((piece, self.hands[piece]) for piece in "RBGSNLPrbgsnlp")
        hands = "".join(f"{count if count > 1 else ''}{piece}" for piece, count in held if count)
        return f"{board} {'bw'[self.white_to_move]} {hands or '-'} 1"

    def _ranks(self) -> str:
        rows = []
        for rank in "abcdefghi":
            row = "".join([self.board.get(file + rank, " ") for file in "987654321"])
            rows.append(re.sub(" +", lambda gap: str(len(gap[0])), row))
        return "/".join(rows)

    def give_rest(self, *, white: bool) -> None:
        """Put all pieces that are not placed yet, except kings, into the hand of one side."""
        used = Counter(piece.upper().lstrip("+") for piece in self.board.values())
        used.update(piece.upper() for piece in self.hands.elements())
        for piece, count in _SET.items():
            held = piece.lower() if white else piece
            self.hands[held] += max(count - used[piece], 0)


_EVEN = StartPosition.read(START_SFEN).board


def is_row(line: str) -> bool:
    """Return whether a line is a rank of a KIF board, or begins with ``|`` like such a rank."""
    return line.lstrip().startswith("|") or _ROW.fullmatch(line.strip()) is not None


def read_rows(rows: Sequence[str]) -> dict[str, str]:
    """Read the ranks of a KIF board; return the SFEN letters of the pieces by USI square name.

    Raises ValueError if there are not nine ranks, or if a rank cannot be read.
    """
    if len(rows) != 9:
        raise ValueError(f"the diagram has {len(rows)} ranks, not 9")
    board = {}
    for number, row in enumerate(rows):
        match = _ROW.fullmatch(row.strip())
        if match is None or match[4] not in {"", _NUMBERS[number + 1]}:
            raise ValueError(f"the diagram's rank {number + 1} is not understood: {row.strip()}")
        for file, (mark, kanji) in zip(range(9, 0, -1), _CELL.findall(match[1]), strict=True):
            if kanji not in _EMPTY:
                piece = "+" * (kanji in PROMOTED) + KANJI[kanji]
                board[f"{file}{'abcdefghi'[number]}"] = (
                    piece.lower() if mark in {"v", "V"} else piece
                )
    return board


def read_hand(text: str) -> Counter[str]:
    """Read a hand of a KIF diagram; return the number of pieces by SFEN letter (capitals).

    Raises ValueError if the hand cannot be read.
    """
    pieces = "".join(text.split())
    hand: Counter[str] = Counter()
    if pieces in {"", "なし"}:
        return hand
    if _HELD.sub("", pieces):
        raise ValueError(f"a hand of the diagram is not understood: {text.strip()}")
    for kanji, digits, number in _HELD.findall(pieces):
        hand[KANJI[kanji]] += int(digits or 0) or _number(number)
    return hand


def _number(kanji: str) -> int:
    """Return the value of a kanji number from 1 to 19; return 1 for an empty text."""
    ones = kanji.removeprefix("十")
    tens = 10 * (ones != kanji)
    return tens + (_NUMBERS.index(ones) if ones else 0 if tens else 1)
