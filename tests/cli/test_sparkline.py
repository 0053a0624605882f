"""Curves of block characters."""

from keisei.cli.sparkline import sparkline


def test_a_curve_goes_from_the_lowest_to_the_highest_block() -> None:
    line = sparkline([0, 10, 20, 30], [0, 1, 2, 3], last=40, bounds=(0, 3), width=4)
    assert line == "▁▃▆█"


def test_a_character_shows_the_mean_of_its_values() -> None:
    assert sparkline([1, 2, 3, 99], [0, 8, 4, 8], last=100, bounds=(0, 8), width=2) == "▅█"


def test_gaps_are_filled_but_the_line_does_not_go_on_after_the_newest_value() -> None:
    assert sparkline([20, 60], [1, 2], last=100, bounds=(1, 2), width=10) == "  ▁▁▁▁█   "


def test_a_constant_curve_is_in_the_middle_and_an_empty_one_is_blank() -> None:
    assert sparkline([0, 50], [7, 7], last=100, bounds=(7, 7), width=4) == "▅▅▅ "
    assert sparkline([], [], last=100, bounds=(0, 1), width=4) == "    "
