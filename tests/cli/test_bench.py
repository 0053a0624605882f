"""``keisei bench``: that the figures are there and are what they say."""

import argparse
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rsshogi.core import Board
from rsshogi.policy import move_label

from keisei.cli import bench_clients, bench_env, bench_loop
from keisei.env import MASK_WORDS, VectorEnv, random_actions
from keisei.shogi import kernels

TINY = """
[env]
games = 8
max_ply = 64
reset_pool = 16
reset_refresh = 4
[net]
blocks = 1
channels = 8
[ppo]
rollout_plies = 8
minibatch = 64
[opponents]
share = 0.25
[compute]
dtype = "float32"
threads = 1
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def bench(*words: object) -> dict[str, Any]:
    """Run in a process of its own: the benchmarks set the whole process up."""
    command = [sys.executable, "-m", "keisei", "bench", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert {"machine", "versions"} <= report.keys()
    return report


def test_the_checksum_of_bench_env_is_that_of_another_implementation() -> None:
    """The same play with masks from rsshogi; long enough for games to end and begin again."""
    games, plies = 8, 300
    found = bench_env.measure(games, games * plies, repeats=1)
    env = VectorEnv(games, seed=1, reset_pool=0)
    env.stagger()
    rng, checksum = np.array([7], np.uint64), np.zeros(1, np.uint64)
    masks = rules_masks(env)
    ended = 0
    for _ in range(plies):
        step = env.step(random_actions(masks, rng))
        ended += int((step.terminated | step.truncated).sum())
        masks = rules_masks(env)
        kernels.mix_masks(masks, checksum)
    assert ended >= games
    assert found["checksum"] == f"{int(checksum[0]):016x}"


def rules_masks(env: VectorEnv) -> np.ndarray:
    bits = np.zeros((len(env), MASK_WORDS * 64), np.uint8)
    for game in range(len(env)):
        board = Board()
        board.set_sfen(env.sfen(game))
        bits[game, [move_label(move, board.turn) for move in board.legal_moves()]] = 1
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint64)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_bench_train(tiny: Path) -> None:
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


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_bench_loop(tiny: Path) -> None:
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
def test_bench_match(tiny: Path) -> None:
    report = bench("match", "--config", tiny, "--games", 16, "--repeats", 1)
    together, alone = report["together_games_per_second"], report["alone_games_per_second"]
    assert report["ratio"] == pytest.approx(together / alone)
    plies, forwards = report["alone_plies_per_second"], report["forwards_per_second"]
    assert report["alone_of_forward"] == pytest.approx(plies / forwards)
    assert 40 * alone < plies < 160 * alone  # no game is longer than 160, openings are not counted


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_bench_contention(tiny: Path) -> None:
    flags = {"rounds": 1, "seconds": 1, "evaluation.share": 0.5}
    report = bench("contention", "--config", tiny, *(f"--{k}={v}" for k, v in flags.items()))
    for kind in ("idle", "playing"):
        steps = report[f"{kind}_steps_per_second"]
        assert report[f"{kind}_of_bare"] == pytest.approx(steps / report["bare_steps_per_second"])
    assert 0.5 < report["idle_of_bare"] < 2
    assert 0.2 < report["share"] < 0.7
    assert report["playing_of_bare"] < 0.9


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_too_short_a_block_is_a_line_not_a_traceback(tiny: Path) -> None:
    flags = ["--config", str(tiny), "--blocks", "2", "--seconds", "0.001", "--clients", "2"]
    flags += ["--ppo.rollout_plies", "1024"]  # or an iteration may end in the 5 ms of one beat
    command = [sys.executable, "-m", "keisei", "bench", "loop", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "keisei: --seconds: longer blocks: 0 iterations in 0.001 s\n"


def test_the_loop_takes_any_setting_but_ends_by_itself() -> None:
    given = {"net.blocks": "3", "run.minutes": "1", "run.root": "mine"}
    args = argparse.Namespace(config=None, device="cuda", overrides=given)
    chosen = bench_loop.settings_in("folder", args, {"ppo.gamma": 0.5})
    assert (chosen.device, chosen.net.blocks, chosen.ppo.gamma) == ("cuda", 3, 0.5)
    assert (str(chosen.run.root), chosen.run.minutes) == ("folder", 0)


def test_a_client_that_is_refused_or_cut_fails_the_benchmark() -> None:
    server, client = socket.socketpair()
    with server, client:
        server.sendall(b"HTTP/1.1 200 OK\r\n")
        bench_clients._check_answer(client)
        assert bench_clients._read(client) == 17
        server.sendall(b"HTTP/1.1 503 Service Unavailable\r\n")
        with pytest.raises(RuntimeError, match=r"answered b'HTTP/1\.1 503"):
            bench_clients._check_answer(client)
        assert bench_clients._read(client) == 34
        server.close()
        with pytest.raises(RuntimeError, match="the server ended a stream"):
            bench_clients._read(client)
