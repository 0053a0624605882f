"""A name that is not known gets the near match."""

import pytest

from keisei.hint import did_you_mean

KNOWN = ("random", "material", "quickstart")


@pytest.mark.parametrize(
    ("name", "near"),
    [("materail", "material"), ("rando", "random"), ("quikstart", "quickstart")],
)
def test_a_near_name_is_told(name: str, near: str) -> None:
    assert did_you_mean(name, KNOWN) == f", did you mean {near}?"


@pytest.mark.parametrize("name", ["", "zzz", "\n", "x" * 1_000_000])
def test_a_name_that_is_near_to_none_gets_no_hint(name: str) -> None:
    assert did_you_mean(name, KNOWN) == ""
