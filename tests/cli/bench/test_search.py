"""``keisei bench search``."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_figures_of_bench_search_agree_with_each_other(
    bench: Callable[..., dict[str, Any]],
) -> None:
    report = bench("search", "--simulations", 60, "--repeats", 1)
    for name, simulations in (("trees_64", 64 * 64), ("one_tree", 60)):
        part = report[name]
        assert part["ratio"] == pytest.approx(part["bare_seconds"] / part["seconds"])
        speed = part["positions"] / part["seconds"]
        assert part["positions_per_second"] == pytest.approx(speed)
        assert 0 < part["positions"] <= part["simulations"] == simulations
        assert sum(part["shares"].values()) == pytest.approx(1)
        assert {"select", "visit", "settle", "expand", "network", "python"} == part["shares"].keys()
    assert 30 < report["trees_64"]["batch"] <= 64
    assert 2 < report["one_tree"]["batch"] <= 16
    assert report["bytes_per_node"] <= 1200
