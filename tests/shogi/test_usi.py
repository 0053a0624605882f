"""USI lines: one grammar for records, openings, ``keisei moves`` and ``keisei usi``."""

import pytest

from keisei.shogi import START_SFEN, SfenError
from keisei.shogi.usi import read_line

SFEN = "4k4/9/4P4/9/9/9/9/9/4K4 b G"


@pytest.mark.parametrize(
    ("line", "start", "moves"),
    [
        ("startpos", START_SFEN, ""),
        ("position\tstartpos\tmoves 7g7f", START_SFEN, "7g7f"),
        ("  7g7f 3c3d # startpos", START_SFEN, "7g7f 3c3d"),
        ("moves 7g7f", START_SFEN, "7g7f"),
        (f"sfen {SFEN} moves 5i5h#x", SFEN, "5i5h"),
        (f"position sfen {SFEN} 7", f"{SFEN} 7", ""),
        (f"{SFEN} moves 5i5h resign", SFEN, "5i5h resign"),
        ("P*5e 7g7f", START_SFEN, "P*5e 7g7f"),
        ("7g7f 3c3d 2g2f", START_SFEN, "7g7f 3c3d 2g2f"),
        ("not an sfen", "not an sfen", ""),
    ],
)
def test_a_line_may_be_written_in_several_ways(line: str, start: str, moves: str) -> None:
    assert read_line(line) == (start, moves.split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "neither a position nor a move"),
        (" # startpos", "neither a position nor a move"),
        ("position", "neither a position nor a move"),
        ("startpos 7g7f", "expected the word moves after startpos, not 7g7f"),
    ],
)
def test_a_line_without_position_and_moves_is_refused(line: str, said: str) -> None:
    with pytest.raises(SfenError, match=said):
        read_line(line)
