"""After SIGTERM at a random instant a process ends in good order and within 30 seconds."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import psutil
import pytest
from forked import TINY as TINY_RUN
from forked import ForkServer
from phases import PHASES, Marks

from keisei.store import find_checkpoint

EACH = 10
"""Number of instants of each kind."""
TINY = [
    "--config=quickstart", "--env.games=8", "--env.reset_pool=16", "--net.blocks=1",
    "--net.channels=8", "--ppo.rollout_plies=8", "--ppo.minibatch=64", "--compute.threads=1",
]  # fmt: skip
COMMAND = "import sys\nfrom keisei.cli.main import main\nsys.exit(main())"
HANG = """
import keisei.ppo.learner, time
def iterate(self):
    yield
    time.sleep(600)
keisei.ppo.learner.Learner.iterate = iterate
"""


@dataclass(frozen=True)
class Kind:
    """What a run does when the signal arrives."""

    words: list[str]
    after: str
    """The line on stderr from which the instant counts; empty: the start of the process."""
    seconds: float
    """The instant is drawn between 0 and this."""
    codes: frozenset[int]
    """Allowed exit codes. -15 means that the process had not begun anything that it must end."""
    bound: float
    patch: str = ""
    cold: bool = False
    """Start with an empty cache of kernels."""


EVALUATIONS = """
[opponents]
share = 0.5
every = 3
[evaluation]
every_steps = 200
opponents = ["random"]
games = 8
promotion_games = 0
"""
ORDERLY = frozenset({0})
KINDS = {
    "imports": Kind(TINY, "", 3, frozenset({0, -signal.SIGTERM}), 10),
    "compile": Kind(TINY, "compiling", 12, ORDERLY, 10, cold=True),
    "iteration of base": Kind(["--config=base"], "running", 30, ORDERLY, 15),
    "save": Kind([*TINY, "--run.checkpoint_seconds=0.01"], "running", 3, ORDERLY, 10),
    # The first evaluation may have to compile the kernels of its openings.
    "evaluation": Kind([*TINY, "--evaluation.every_steps=64"], "running", 5, ORDERLY, 20),
    "hung worker": Kind(TINY, "running", 3, frozenset({1}), 30, patch=HANG),
}


def wait_for(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"the run ended without {text!r}")


def stop(kind: Kind, wait: float, run: Path, cache: Path) -> tuple[int, float, str]:
    """Stop a run. Returns exit code, seconds from the signal to the end, and stderr."""
    words = [sys.executable, "-c", kind.patch + COMMAND, "serve", *kind.words]
    environment = {"NUMBA_CACHE_DIR": str(cache)} if kind.cold else {}
    with subprocess.Popen(
        ["env", *(f"{k}={v}" for k, v in environment.items()), *words, "--port=0", f"--run={run}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            if kind.after:
                wait_for(process, kind.after)
            time.sleep(wait)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, error = process.communicate(timeout=60)
            return process.returncode, time.monotonic() - began, error
        finally:
            process.kill()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", KINDS)
def test_sigterm_ends_a_run_in_time_at_any_moment(
    name: str, tmp_path: Path, report: Callable[[str], None]
) -> None:
    kind, rng = KINDS[name], random.Random(name)
    for number in range(EACH):
        wait = rng.uniform(0, kind.seconds)
        run = tmp_path / f"run-{number}"
        code, seconds, error = stop(kind, wait, run, tmp_path / f"cache-{number}")
        report(f"{name}, {wait:.1f} s in: code {code} after {seconds:.1f} s")
        assert code in kind.codes, error
        assert seconds < kind.bound
        if code == 1:
            assert "in iterate" in error
        else:
            assert "Traceback" not in error
        if list(run.glob("checkpoints/0*")):
            assert find_checkpoint(run)[1] == []  # no checkpoint is damaged


@pytest.mark.slow
@pytest.mark.parametrize(
    "times",
    [
        pytest.param(4, marks=pytest.mark.timeout(200)),
        pytest.param(100, marks=[pytest.mark.nightly, pytest.mark.timeout(3000)]),
    ],
)
def test_sigterm_in_any_phase_ends_a_run_in_order(
    fork_server: ForkServer, tmp_path: Path, times: int, report: Callable[[str], None]
) -> None:
    config, run, marks = tmp_path / "tiny.toml", tmp_path / "run", Marks(tmp_path / "marks")
    nightly = times > len(PHASES)
    config.write_text(TINY_RUN.format(steps=1500) + EVALUATIONS * nightly)
    seed = random.randrange(10**6)
    chance, hits, slowest = random.Random(seed), Counter[str](), 0.0
    phases = (*PHASES, "evaluation") if nightly else PHASES
    aims = cycle(phases)
    while hits.total() < times or (nightly and hits.keys() != set(phases)):
        assert hits.total() < 5 * times, f"phases that no signal hit: {hits}"
        marks.clear()
        shutil.rmtree(run, ignore_errors=True)
        words = ("train", "--config", config, "--run", run, "--run.checkpoints_kept=2")
        process = fork_server.start(tmp_path, *words, patch=marks.patch)
        marks.wait(process, next(aims), chance)
        if process.poll() is not None:  # too late
            continue
        children = psutil.Process(process.pid).children(recursive=True)
        phase, since = marks.entered()[-1], time.monotonic()
        code = process.stop()
        slowest = max(slowest, time.monotonic() - since)
        hits[phase] += 1
        # Before the command handles signals, it has begun nothing.
        assert code == 0 or (code == -signal.SIGTERM and not run.exists()), process.errors
        assert "Traceback" not in process.errors
        assert not any(child.is_running() for child in children)
        if list(run.glob("checkpoints/0*")):
            assert find_checkpoint(run)[1] == []
    shown = ", ".join(f"{phase} {count}" for phase, count in hits.most_common())
    report(f"seed {seed}: {hits.total()} signals ({shown}); the slowest end took {slowest:.1f} s")
    assert slowest <= 30


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line of the table in spite of pytest's capture."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="")

    return show
