"""A run killed with SIGKILL at any moment resumes and ends like a run never killed."""

import contextlib
import hashlib
import json
import random
import socket
import sqlite3
from collections import Counter
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from forked import TINY, Forked, ForkServer
from phases import PHASES, Marks

from keisei.store import find_checkpoint
from keisei.store.checkpoints import read_state
from keisei.store.layout import checkpoint_folders
from keisei.store.manifest import read_manifest

STEPS = 1500
KINDS = {
    "alone": "",
    "opponents": "[opponents]\nshare = 0.5\nevery = 3\n",
    "evaluation": (
        '[evaluation]\nevery_steps = 200\nopponents = ["random"]\ngames = 8\n'
        "promotion_games = 0\nmax_ply = 40\n"
    ),
    "two ranks": "[opponents]\nevery = 3\n",
}
CLOCK = {"elapsed_seconds", "good"}
"""Keys of a checkpoint's state that depend on the clock, or on which checkpoints exist."""


class Killer:
    """Trains runs of one kind and kills them, and compares them with a run never killed."""

    def __init__(self, server: ForkServer, folder: Path, kind: str, seed: int) -> None:
        self._server, self._folder = server, folder
        self._ranks = 2 if kind == "two ranks" else 1
        self._chance = random.Random(seed)
        self._phases = (*PHASES, "evaluation") if kind == "evaluation" else PHASES
        self._aims = cycle(self._phases)
        self._marks = Marks(folder / "marks")
        self._config = folder / "tiny.toml"
        self._config.write_text(TINY.format(steps=STEPS * self._ranks) + KINDS[kind])
        self.hits: Counter[str] = Counter()
        self.compared = self.finished = 0
        whole = folder / "whole"
        for process in self._train(whole, "--run.checkpoints_kept=10000"):
            assert process.wait() == 0, process.errors
        self._digests = {
            int(path.name): digest(path) for path in checkpoint_folders(whole / "checkpoints")
        }
        self._rows = rows(whole)
        assert len(self._digests) > 10, "each iteration of each rank learns from 128 plies at most"

    def kill(self, times: int) -> None:
        """Kill, resume and compare until this many runs were killed."""
        number = 0
        while self.hits.total() < times or any(not self.hits[phase] for phase in self._phases):
            assert self.hits.total() < 2 * times, f"phases that no kill hit: {self.hits}"
            number += 1
            self._kill_to_the_end(self._folder / f"run{number}", times)

    def _kill_to_the_end(self, run: Path, times: int) -> None:
        """Train a run to its end. Kill it in between, ``times`` times at most."""
        more: tuple[str, ...] = ()
        while True:
            kill = self.hits.total() < times or any(not self.hits[p] for p in self._phases)
            processes = self._train(run, *more)
            if not (kill and self._killed(processes)):
                codes = [process.wait() for process in processes]
                assert codes == [0] * self._ranks, processes[0].errors
                self._compare(run)
                assert rows(run) == self._rows
                self.finished += 1
                return
            if checkpoint_folders(run / "checkpoints"):
                self._compare(run)
                more = ("--resume",)
            else:  # nothing was saved, so there is nothing to resume
                run = run.with_name(run.name + "-again")

    def _train(self, run: Path, *more: str) -> list[Forked]:
        words = ("train", "--config", self._config, "--run", run, *more)
        self._marks.clear()
        if self._ranks == 1:
            return [self._server.start(self._folder, *words, patch=self._marks.patch)]
        started = []
        port = free_port()
        for rank in range(self._ranks):
            folder = self._folder / f"rank{rank}"
            folder.mkdir(exist_ok=True)
            group = {
                "TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": str(rank),
                "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            }  # fmt: skip
            patch = self._marks.patch if rank == 0 else ""
            started.append(self._server.start(folder, *words, patch=patch, **group))
        return started

    def _killed(self, processes: list[Forked]) -> bool:
        """Kill the run at a random moment in or soon after the next of the phases.

        Return False if the run ended before the kill.
        """
        aim = next(self._aims)
        victim = processes[self._chance.randrange(self._ranks)]
        self._marks.wait(processes[0], aim, self._chance)
        if victim.poll() is not None:
            return False
        victim.kill()
        phase = self._marks.entered()[-1]
        for other in processes:
            if phase == "open":  # it waits for the first meeting, and torchrun would end it
                other.kill()
            other.wait()  # later it ends by itself, because its companion is gone
        self.hits[phase] += 1
        return True

    def _compare(self, run: Path) -> None:
        path, refused = find_checkpoint(run)
        assert refused == []
        assert digest(path) == self._digests[int(path.name)]
        self.compared += 1


def digest(checkpoint: Path) -> str:
    """Return a hash of weights, optimiser, games, opponents and random generators."""
    parts: dict[str, Any] = {}
    for name, entry in read_manifest(checkpoint)["files"].items():
        parts[name] = entry["sha256"]
        if name.startswith("state"):
            state = read_state(checkpoint, int(name.split(".")[1].replace("json", "0")))
            parts[name] = {key: value for key, value in state.items() if key not in CLOCK}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def rows(run: Path) -> tuple[list[Any], list[Any]]:
    """Return the metrics that do not depend on the clock, and the games."""
    with contextlib.closing(sqlite3.connect(run / "keisei.db")) as database:
        metrics = database.execute(
            "SELECT iteration, names.name, value FROM metric"
            " JOIN metric_name AS names ON names.id = metric.name WHERE names.name NOT LIKE 'speed/%'"
            " AND names.name NOT LIKE 'system/%' AND names.name NOT LIKE 'eval/%' ORDER BY 1, 2"
        ).fetchall()
        games = database.execute(
            "SELECT id, step, result, reason, plies, black, white, record FROM game ORDER BY 1"
        ).fetchall()
    assert metrics
    assert games
    return metrics, games


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line in spite of pytest's capture."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="")

    return show


NIGHTLY = (pytest.mark.nightly, pytest.mark.timeout(3000))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "times"),
    [
        pytest.param("opponents", 20, marks=pytest.mark.timeout(400)),
        pytest.param("alone", 200, marks=NIGHTLY),
        pytest.param("opponents", 60, marks=NIGHTLY),
        pytest.param("evaluation", 60, marks=NIGHTLY),
        pytest.param("two ranks", 20, marks=NIGHTLY),
    ],
)
def test_a_run_killed_at_random_moments_ends_as_one_never_killed(
    fork_server: ForkServer, tmp_path: Path, kind: str, times: int, report: Callable[[str], None]
) -> None:
    seed = random.randrange(10**6)
    killer = Killer(fork_server, tmp_path, kind, seed)
    killer.kill(times)
    hits = ", ".join(f"{phase} {count}" for phase, count in killer.hits.most_common())
    report(
        f"{kind}, seed {seed}: {killer.hits.total()} kills ({hits}); {killer.compared} checkpoints"
        f" and the rows of {killer.finished} runs equal those of a run never killed"
    )
