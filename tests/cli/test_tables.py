"""Tables, sizes and times."""

import pytest

from keisei.cli.tables import count, many, moment, size, table


def test_columns_are_aligned_without_spaces_at_the_ends_of_lines() -> None:
    rows = [("name", "size"), ("a", "10,000"), ("long name", "")]
    assert table(rows, right={1}) == "name         size\na          10,000\nlong name"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"),
        (3_000_000_000, "3.0 GB"), (5 * 10**15, "5000.0 TB"), (None, "-"),
    ],
)  # fmt: skip
def test_sizes(number: int | None, text: str) -> None:
    assert size(number) == text


def test_numbers_and_unknown_values() -> None:
    assert (count(1234), count(None), moment(None)) == ("1,234", "-", "-")
    assert (many(1, "run"), many(2, "run"), many(0, "run")) == ("1 run", "2 runs", "0 runs")
    assert len(moment(1e9)) == len("2001-09-09 01:46:40")
