"""Read USI lines, each of which gives a start position and the moves from there."""

import re

from keisei.shogi.errors import SfenError
from keisei.shogi.sfen import START_SFEN

_MOVE = re.compile(r"([1-9][a-i]|[A-Z]\*)[1-9][a-i]")


def read_line(text: str) -> tuple[str, list[str]]:
    """Return the SFEN of the start position, and the list of moves.

    This function checks neither the SFEN nor the moves. A line gives the start position as
    ``startpos``, ``sfen <SFEN>`` or a plain SFEN. The word ``moves`` and the moves may follow. A
    line may also contain only moves; then the game begins at the usual start position. Any line may
    begin with the word ``position``. Words are separated by white space. ``#`` begins a comment.

    Raises:
        SfenError: the line has no position and no move, or a word other than ``moves`` follows
            ``startpos``.
    """
    words = text.partition("#")[0].split()
    if words[:1] == ["position"]:
        del words[0]
    if not words:
        raise SfenError("the line has neither a position nor a move")
    cut = words.index("moves") if "moves" in words else len(words)
    start, moves = words[:cut], words[cut + 1 :]
    if start[:1] == ["sfen"]:
        return " ".join(start[1:]), moves
    if start[:1] == ["startpos"]:
        if len(start) > 1:
            raise SfenError(f"expected the word moves after startpos, not {start[1]}")
        return START_SFEN, moves
    if len(start) in {3, 4} and not _MOVE.match(start[0]):  # the words are an SFEN's fields
        return " ".join(start), moves
    return START_SFEN, [*start, *moves]
