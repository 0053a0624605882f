"""``keisei bench loop``."""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keisei.cli.bench import loop


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_bench_loop_counts_its_clients_and_compares_blocks_with_and_without_them(
    tiny: Path, bench: Callable[..., dict[str, Any]]
) -> None:
    report = bench("loop", "--config", tiny, "--blocks", 2, "--seconds", 2, "--clients", 4)
    assert (report["clients"], report["clients_at_end"]) == (4, 4)
    assert (report["never_reading"], report["stalled"]) == (2, 2)
    assert report["tick_seconds"] == 0.25
    rates = report["steps_per_second"], report["steps_per_second_without_clients"]
    assert min(rates) > 0
    assert report["ratio"] == pytest.approx(rates[0] / rates[1])
    assert report["ratio_low"] <= report["ratio"] <= report["ratio_high"]
    for lags in (report["loop_lag_ms"], report["loop_lag_ms_without_clients"]):
        assert 0 <= lags["p50"] <= lags["p99"] <= lags["max"]
        assert lags["samples"] > 10
    assert report["bytes_read"] > 1000
    assert report["dropped"] == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_too_short_a_block_is_a_line_not_a_traceback(tiny: Path) -> None:
    flags = ["--config", str(tiny), "--blocks", "2", "--seconds", "0.001", "--clients", "2"]
    flags += ["--ppo.rollout_plies", "1024"]  # or an iteration may end in the 5 ms of one beat
    command = [sys.executable, "-m", "keisei", "bench", "loop", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "keisei: --seconds: 0.001 s is too short: 0 iterations ended, 2 are needed\n"
    )


def test_bench_loop_takes_any_setting_but_decides_itself_when_and_where_its_run_ends() -> None:
    given = {"net.blocks": "3", "run.minutes": "1", "run.root": "mine"}
    args = argparse.Namespace(config=None, device="cuda", overrides=given)
    chosen = loop.settings_in("folder", args, {"ppo.gamma": 0.5})
    assert (chosen.device, chosen.net.blocks, chosen.ppo.gamma) == ("cuda", 3, 0.5)
    assert (str(chosen.run.root), chosen.run.minutes) == ("folder", 0)
