"""``keisei bench contention``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_bench_contention_compares_a_run_that_plays_with_one_that_is_idle(
    tiny: Path, bench: Callable[..., dict[str, Any]]
) -> None:
    flags = {"rounds": 1, "seconds": 1, "evaluation.share": 0.5}
    report = bench("contention", "--config", tiny, *(f"--{k}={v}" for k, v in flags.items()))
    for kind in ("idle", "playing"):
        steps = report[f"{kind}_steps_per_second"]
        assert report[f"{kind}_of_bare"] == pytest.approx(steps / report["bare_steps_per_second"])
    assert 0.5 < report["idle_of_bare"] < 2
    assert 0.2 < report["share"] < 0.7
    assert report["playing_of_bare"] < 0.9
