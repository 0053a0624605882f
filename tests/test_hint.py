"""A mistyped name gets the most similar known one as a hint."""

import pytest

from keisei.hint import did_you_mean

KNOWN = ("random", "material", "quickstart")


@pytest.mark.parametrize(
    ("name", "similar"),
    [("materail", "material"), ("rando", "random"), ("quikstart", "quickstart")],
)
def test_a_similar_name_is_suggested(name: str, similar: str) -> None:
    assert did_you_mean(name, KNOWN) == f", did you mean {similar}?"


@pytest.mark.parametrize("name", ["", "zzz", "\n", "x" * 1_000_000])
def test_a_name_like_no_other_gets_no_hint(name: str) -> None:
    assert did_you_mean(name, KNOWN) == ""
