"""Lines of USI: a start position and what stands behind it, wherever a line is read."""

import re

from keisei.shogi.errors import SfenError
from keisei.shogi.sfen import START_SFEN

_MOVE = re.compile(r"([1-9][a-i]|[A-Z]\*)[1-9][a-i]")


def read_line(text: str) -> tuple[str, list[str]]:
    """The SFEN of the start and the words behind ``moves``; neither has been checked.

    A line is ``startpos``, ``sfen <SFEN>`` or an SFEN alone, each with or without ``moves ...``
    behind it; or moves alone, from the usual start. ``position`` may stand before it. Any white
    space separates words, and ``#`` begins a comment.

    Raises:
        SfenError: the line is empty; something else stands where ``moves`` was expected.
    """
    words = text.partition("#")[0].split()
    if words[:1] == ["position"]:
        del words[0]
    if not words:
        raise SfenError("neither a position nor a move")
    cut = words.index("moves") if "moves" in words else len(words)
    start, behind = words[:cut], words[cut + 1 :]
    if start[:1] == ["sfen"]:
        return " ".join(start[1:]), behind
    if start[:1] == ["startpos"]:
        if len(start) > 1:
            raise SfenError(f"moves was expected, not {start[1]}")
        return START_SFEN, behind
    if len(start) in {3, 4} and not _MOVE.match(start[0]):  # the fields of an SFEN
        return " ".join(start), behind
    return START_SFEN, [*start, *behind]
