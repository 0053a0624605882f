import pytest

from keisei.usi.protocol import Info, parse
from keisei.usi.report import (
    Counters,
    Variation,
    centipawns,
    from_centipawns,
    info_lines,
    policy_line,
    say,
)

SIZE = Counters(nodes=500, seconds=2.0, deepest=9, fullness=0.0123)


def test_a_line_tells_everything_about_the_search() -> None:
    (line,) = info_lines([Variation(("7g7f", "3c3d"), 0.5)], SIZE, 1)
    assert line == (
        "info depth 2 seldepth 9 nodes 500 nps 250 time 2000 hashfull 12 score cp 659 pv 7g7f 3c3d"
    )
    assert parse(line) == Info(depth=2, nodes=500, time=2000, cp=659, pv=("7g7f", "3c3d"))


def test_several_lines_are_numbered_and_each_has_its_score() -> None:
    found = [
        Variation(("7g7f",), 1.0, 5),
        Variation(("2g2f",), -1.0, -4),
        Variation(("6g6f",), None),
        Variation(("1g1f",), 0.0),
    ]
    lines = info_lines(found, SIZE, 3)
    assert [line.partition("hashfull 12 ")[2] for line in lines] == [
        "multipv 1 score mate 5 pv 7g7f",
        "multipv 2 score mate -4 pv 2g2f",
        "multipv 3 pv 6g6f",
    ]


def test_probabilities_are_shown() -> None:
    found = [Variation(("7g7f",), 0.0, probability=0.5), Variation(("2g2f",), None)]
    assert policy_line(found) == "info string policy 7g7f 50.0% 2g2f 0.0%"


def test_text_for_the_gui_is_one_line_of_ascii() -> None:
    assert say("\x1b[2J\u5f62\n") == "info string  [2J\\u5f62 "


def test_a_value_becomes_centipawns_by_the_win_rate_formula() -> None:
    """The win rate at 600 centipawns is 1 / (1 + exp(-1)) = 0.7311."""
    assert centipawns(2 * 0.7310586 - 1) == 600
    assert [centipawns(value) for value in (0.0, 1.0, -1.0)] == [0, 5526, -5526]
    for score in (-2000, -1, 0, 300):
        assert centipawns(from_centipawns(score)) == score
    assert from_centipawns(600) == pytest.approx(2 * 0.7310586 - 1)
