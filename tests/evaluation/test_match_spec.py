"""The settings of a match are checked, and its openings go round."""

from typing import Any

import pytest

from keisei.evaluation import MatchSpec
from keisei.evaluation.game import Opening


@pytest.mark.parametrize(
    ("field", "value"),
    [("games", 3), ("games", 0), ("opponent", "me"), ("max_ply", 0), ("seed", -1)],
)
def test_a_field_out_of_bounds_is_refused(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"opponent": "random", field: value}
    with pytest.raises(ValueError, match=rf"^{field}: .*\(got '?{value}'?\)"):
        MatchSpec(**fields)


def test_pairs_take_the_openings_in_turn() -> None:
    openings = Opening("startpos"), Opening.read("startpos moves 7g7f")
    spec = MatchSpec("random", openings=openings)
    assert [spec.opening(pair) for pair in range(3)] == [*openings, openings[0]]


@pytest.mark.parametrize("resign", [-1.1, 0.1, float("nan")])
def test_a_network_resigns_only_at_the_value_of_a_loss(resign: float) -> None:
    with pytest.raises(ValueError, match="resign: -1 to 0"):
        MatchSpec("random", resign=resign)
