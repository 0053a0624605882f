"""The server of forked processes, runs to inject faults into, and disks that fill up."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import TINY, Forked, ForkServer, Train


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    """A server whose forks run ``keisei``."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def train(fork_server: ForkServer, tmp_path: Path) -> Iterator[Train]:
    """A function that trains a run in a new process. The test ends this process."""
    config = tmp_path / "tiny.toml"
    config.write_text(TINY.format(steps=0))
    started: list[Forked] = []

    def start(run: Path, *words: object, **options: object) -> Forked:
        command = ("train", "--json", "--config", config, "--run", run, *words)
        started.append(fork_server.start(tmp_path, *command, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a file system in memory with these options, and returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def new(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("only root can mount a file system")
        return folder

    yield new
    subprocess.run(["umount", "-l", folder], check=False, capture_output=True)
