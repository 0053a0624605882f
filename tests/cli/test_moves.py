"""``keisei moves``."""

import json

import pytest

from keisei.cli.main import main
from keisei.shogi import Position

KINGS = "4k4/9/9/9/9/9/9/9/4K4 b - 1"


def test_the_legal_moves_are_printed_with_and_without_quotes_around_the_sfen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = "".join(f"{move}\n" for move in Position(KINGS).legal_moves())
    for words in ([KINGS], KINGS.split()):
        assert main(["moves", *words]) == 0
        assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    "line",
    ["position startpos moves 7g7f", "startpos\tmoves 7g7f # a note", "7g7f"],
)
def test_any_usi_line_is_a_position(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    position = Position()
    position.push("7g7f")
    assert main(["moves", *line.split()]) == main(["moves", line]) == 0
    assert capsys.readouterr().out.split() == 2 * position.legal_moves()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["moves", "4k4/9/9/9/9/9/9/9/10K b - 1"], "SFEN: rank 9"),
        (["moves", "startpos", "moves", "7g7e"], "SFEN: 7g7e is not legal here"),
        (["moves", "startpos", "7g7f"], "SFEN: expected the word moves after startpos, not 7g7f"),
        (["moves", "# nothing"], "SFEN: the line has neither a position nor a move"),
    ],
)
def test_a_bad_position_or_move_is_reported(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_json_has_the_position_and_its_moves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["moves", KINGS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"sfen": KINGS, "moves": Position(KINGS).legal_moves()}
