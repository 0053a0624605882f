"""Measurements are counted in buckets."""

from keisei.feed.distribution import Distribution


def test_a_bucket_counts_the_measurements_up_to_and_with_its_bound() -> None:
    found = Distribution((0.5, 1.0))
    for value in (0.25, 0.5, 0.75, 7.0):
        found.add(value)
    assert found.cumulative() == [("0.5", 2), ("1.0", 3), ("+Inf", 4)]
    assert found.sum == 8.5
