import pytest

from keisei.search import SearchOptions


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"simulations": 0}, "simulations"),
        ({"leaves": 0}, "leaves"),
        ({"c_init": -1}, "c_init"),
        ({"c_base": 0}, "c_base"),
        ({"mates": 2}, "mates"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SearchOptions(**wrong)  # type: ignore[arg-type]
