"""Words and lines with which KIF, KI2, CSA and USI records say how a game ended.

Sources: http://kakinoki.o.oo7.jp/kif_format.html,
http://www2.computer-shogi.org/protocol/record_v3.html, and files that other programs wrote.
"""

import re
from dataclasses import dataclass
from typing import Literal

from keisei.records.game import Winner


@dataclass(frozen=True, slots=True)
class End:
    """Why a game ended, and who won it."""

    reason: str
    by: Literal["mover", "other", "black", "white", "draw"] | None
    """Winner, or ``draw``; None if the winner is unknown.

    ``mover`` is the side to move at the end of the game; ``other`` is the other side.
    """

    def winner(self, *, white_to_move: bool) -> Winner | None:
        """Return the winner; ``white_to_move`` says which side is to move at the game's end."""
        if self.by == "mover":
            return "white" if white_to_move else "black"
        if self.by == "other":
            return "black" if white_to_move else "white"
        return self.by


UNKNOWN = End("unknown", None)
ILLEGAL_MOVE = "illegal_move"
_WORDS = {
    "投了 toryo resign": End("resign", "other"),
    "詰み 詰 tsumi mate checkmate": End("mate", "other"),
    "切れ負け 時間切れ 時間切れ負け timeup timeout": End("timeout", "other"),
    "切れ勝ち 時間切れ勝ち": End("timeout", "mover"),
    "反則負け 反則 反則手 illegalmove": End(ILLEGAL_MOVE, "other"),
    "反則勝ち": End(ILLEGAL_MOVE, "mover"),
    "+illegalaction": End(ILLEGAL_MOVE, "white"),
    "-illegalaction": End(ILLEGAL_MOVE, "black"),
    "入玉勝ち 入玉宣言 入玉宣言勝ち 宣言勝ち kachi win": End("win_by_declaration", "mover"),
    "不戦勝": End("win_by_default", "mover"),
    "不戦敗": End("lose_by_default", "other"),
    "千日手 sennichite repetition": End("repetition_draw", "draw"),
    "持将棋 jishogi impasse": End("impasse", "draw"),
    "引き分け 引分け 引分 hikiwake draw": End("draw", "draw"),
    "中断 chudan interrupt": End("interrupt", None),
    "封じ手": End("sealed_move", None),
    "不詰 fuzumi": End("no_mate", None),
    # A game that is stopped at the maximum ply is not a draw, neither here nor in training.
    "最大手数 maxmoves": End("max_moves", None),
}
_ENDS = {word: end for words, end in _WORDS.items() for word in words.split()}
_SIDE = re.compile("(先手|下手|後手|上手)の?([^勝負]{0,20})([勝負])")
_SUMMARY = re.compile(r"まで[、,\s]*(?:[0-9０-９]+手)?[で、,\s]*")
_CAUSES = {
    "反則": ILLEGAL_MOVE,
    "切れ": "timeout",
    "宣言": "win_by_declaration",
    "入玉": "win_by_declaration",
    "詰": "mate",
}


def read_end(word: str) -> End:
    """Return the end that a word of a record means; return ``UNKNOWN`` for an unknown word."""
    name = word.strip().removeprefix("%").casefold()
    return _ENDS.get(re.sub("(?<!^)[-_ ]", "", name), UNKNOWN)


def read_summary(line: str) -> End:
    """Return the end that a line such as ``まで87手で先手の勝ち`` states, or ``UNKNOWN``."""
    text = _SUMMARY.sub("", line, count=1).strip()
    named = _SIDE.search(text)
    if named is None:
        return read_end(text)
    black_won = (named[1] in {"先手", "下手"}) == (named[3] == "勝")
    cause = next((reason for word, reason in _CAUSES.items() if word in text), "resign")
    return End(cause, "black" if black_won else "white")
