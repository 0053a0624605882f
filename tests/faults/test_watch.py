"""``keisei watch`` beside training: the speed of training, and how late the watcher's stream is."""

import json
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3000)]

ROUNDS, SECONDS = 12, 20
LATE = 2.0
"""Largest p99 of the seconds from an event to its arrival at a client of the watcher."""


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "keisei", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def follow(url: str, late: list[float], stop: threading.Event) -> None:
    """Add the delay of each iteration and board."""
    with urllib.request.urlopen(f"{url}api/events?topics=metrics,board", timeout=60) as stream:
        for line in stream:
            if stop.is_set():
                return
            if line.startswith(b"data: "):
                data = json.loads(line[6:])
                if data["event"] in {"iteration", "board"}:
                    late.append(time.time() - data["time"])


def speed(training: subprocess.Popen[str], seconds: float) -> float:
    """Return the steps per second of training over this time, from its own iterations."""
    assert training.stdout
    marks: list[tuple[int, float]] = []
    for line in training.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "iteration":
            marks.append((event["step"], event["time"]))
            if marks[-1][1] - marks[0][1] >= seconds:
                break
    (first, began), (last, ended) = marks[0], marks[-1]
    return (last - first) / (ended - began)


def test_a_watcher_with_a_client_slows_training_by_less_than_one_percent_and_is_not_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late: list[float] = []
    ratios = []
    training = start("train", "--config", "quickstart", "--run", tmp_path / "run", "--json")
    try:
        speed(training, SECONDS)  # warm up
        alone = speed(training, SECONDS)
        for _ in range(ROUNDS):
            watcher = start("watch", tmp_path / "run", "--port", 0, "--json")
            assert watcher.stdout
            url = json.loads(watcher.stdout.readline())["address"]
            with urllib.request.urlopen(f"{url}healthz", timeout=60):
                pass  # the watcher has started
            stop = threading.Event()
            client = threading.Thread(target=follow, args=(url, late, stop))
            client.start()
            speed(training, 1)
            beside = speed(training, SECONDS)
            stop.set()
            watcher.send_signal(signal.SIGTERM)
            watcher.communicate(timeout=20)
            assert watcher.returncode == 0
            client.join()
            speed(training, 1)
            after = speed(training, SECONDS)
            ratios.append(beside / ((alone + after) / 2))
            alone = after
    finally:
        training.send_signal(signal.SIGINT)
        training.communicate(timeout=60)
    p99 = statistics.quantiles(late, n=100)[98]
    ratio = statistics.median(ratios)
    with capsys.disabled():
        print(f"\nratios {[round(one, 3) for one in ratios]}, median {ratio:.4f}")
        print(f"{len(late)} events, late by p50 {statistics.median(late):.2f} s, p99 {p99:.2f} s")
    assert p99 <= LATE
    assert ratio >= 0.99
