import math
import re
from dataclasses import fields
from pathlib import Path

import pytest

from keisei.search import SearchOptions


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"simulations": 0}, "simulations"),
        ({"leaves": 0}, "leaves"),
        ({"c_init": -1}, "c_init"),
        ({"c_init": math.nan}, "c_init"),
        ({"c_base": 0}, "c_base"),
        ({"temperature": math.inf}, "temperature"),
        ({"urgency": math.nan}, "urgency"),
        ({"root_urgency": math.inf}, "root_urgency"),
        ({"mates": 2}, "mates"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SearchOptions(**wrong)  # type: ignore[arg-type]


def test_the_guide_lists_every_option_with_its_default() -> None:
    guide = (Path(__file__).parents[2] / "docs/guide/search.md").read_text("utf-8")
    _, _, part = guide.partition("## Options of a tree\n")
    rows = re.findall(r"(?m)^\| `(\w+)` \| ([\d.]+) \|", part.partition("\n## ")[0])
    found = {name: float(default) for name, default in rows}
    assert found == {field.name: field.default for field in fields(SearchOptions)}
