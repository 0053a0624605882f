"""``keisei bench train``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_rates_of_bench_train_agree_with_its_times(
    tiny: Path, bench: Callable[..., dict[str, Any]]
) -> None:
    report = bench("train", "--config", tiny, "--repeats", 5)
    for rate in ("achieved", "limit", "reference", "mfu", "matmul_peak_flops"):
        assert report[rate] > 0, rate
    assert report["ratio"] == pytest.approx(report["achieved"] / report["limit"])
    seconds, phases = report["seconds"], report["phases"]
    assert phases["refill"] == pytest.approx(seconds["refill"] / 4) != 0
    iteration = seconds["iteration"] + phases["refill"]
    assert sum(phases.values()) == pytest.approx(iteration)
    plies = report["plies"]
    assert 48 <= plies < 64  # a quarter of the games have a frozen opponent in one seat
    assert report["achieved"] == pytest.approx(plies / iteration)
    network = seconds["t_fwd"] + seconds["t_opp"] + 2 * seconds["t_upd"]
    assert report["limit"] == pytest.approx(plies / network)
    assert 400 < report["bytes_per_ply"] < 550  # one ply in eight is the edge's here
    for name, (low, high) in report["spread"].items():
        assert 0 < low <= seconds[name] <= high
