"""``keisei bench match``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_rates_of_bench_match_agree_with_each_other(
    tiny: Path, bench: Callable[..., dict[str, Any]]
) -> None:
    report = bench("match", "--config", tiny, "--games", 16, "--repeats", 1)
    together, alone = report["together_games_per_second"], report["alone_games_per_second"]
    assert report["ratio"] == pytest.approx(together / alone)
    plies, forwards = report["alone_plies_per_second"], report["forwards_per_second"]
    assert report["alone_of_forward"] == pytest.approx(plies / forwards)
    assert 40 * alone < plies < 160 * alone  # no game is longer than 160, openings are not counted
