"""``keisei perft``."""

import json

import pytest

from keisei.cli.main import main
from keisei.shogi import Position

KINGS = "4k4/9/9/9/9/9/9/9/4K4 b - 1"


def test_perft_prints_only_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perft", "3"]) == 0
    assert capsys.readouterr().out == "25470\n"
    assert main(["perft", "0"]) == 0
    assert capsys.readouterr().out == "1\n"


def test_the_counts_of_divide_add_up_to_the_total(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perft", "2", "--sfen", KINGS, "--divide"]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    counts = dict(line.split(": ") for line in lines)
    assert sorted(counts) == Position(KINGS).legal_moves()
    assert sum(map(int, counts.values())) == int(total) == 25


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["perft", "-1"], "DEPTH: must be 0 or more (got -1)"),
        (["perft", "0", "--divide"], "--divide: needs"),
        (["perft", "1", "--sfen", "9/9 b - 1"], "--sfen: board has 2 ranks"),
    ],
)
def test_a_bad_argument_is_reported(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_json_has_the_count_and_the_counts_of_first_moves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["perft", "2", "--sfen", KINGS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"sfen": KINGS, "depth": 2, "nodes": 25}
    assert main(["perft", "2", "--sfen", KINGS, "--json", "--divide"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(found["divide"].values()) == found["nodes"] == 25
