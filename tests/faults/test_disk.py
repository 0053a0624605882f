"""Faults of disks and files while a run trains: each has the outcome that the guide states."""

import contextlib
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import Forked, Train

from keisei.store import find_checkpoint

Mount = Callable[[str], Path]
SHORT_WAITS = """
import keisei.feed.sinks, keisei.feed.supervise, sqlite3
keisei.feed.supervise.PAUSES = (0.0, 0.0, 0.0)
keisei.feed.sinks.RETRY_SECONDS = 0.2
connect = sqlite3.connect
sqlite3.connect = lambda *words, **named: connect(*words, **{**named, "timeout": 0.1})
"""
"""Patch: short pauses between the attempts to write into the database."""


def fails_then_recovers(process: Forked, mend: Callable[[], object], reason: str) -> None:
    """Assert that saves fail for ``reason`` while training goes on, until the fault is mended."""
    process.event("alert", name="checkpoint_failed", level="error", message=reason)
    failed = len(process.events())
    process.event("iteration", failed)
    mend()
    mended = len(process.events())
    process.event("checkpoint", mended)


def assert_whole(process: Forked, run: Path) -> None:
    """Stop the run. Its newest checkpoint must be valid, and no iteration may be missing."""
    assert process.stop() == 0
    path, refused = find_checkpoint(run)
    assert refused == []
    assert not list(path.parent.glob(".*"))
    with contextlib.closing(sqlite3.connect(run / "keisei.db")) as database:
        numbers = [row[0] for row in database.execute("SELECT iteration FROM iteration")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


def fill(folder: Path) -> Path:
    """Fill a disk. Returns the file to remove."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def test_a_full_disk_delays_saves_and_rows_but_not_training(train: Train, mount: Mount) -> None:
    disk = mount("size=20m")
    process = train(disk / "run", patch=SHORT_WAITS)
    process.event("checkpoint")
    filler = fill(disk)
    process.event("alert", name="database", message="disk is full")
    fails_then_recovers(process, filler.unlink, "No space left on device")
    assert_whole(process, disk / "run")


@pytest.mark.nightly
def test_a_run_that_ends_on_a_full_disk_fails_and_resumes_from_its_last_checkpoint(
    train: Train, mount: Mount
) -> None:
    disk = mount("size=20m")
    process = train(disk / "run")
    process.event("checkpoint")
    filler = fill(disk)
    process.event("alert", name="checkpoint_failed")
    assert process.stop() == 1
    assert "training failed: OSError: [Errno 28] No space left on device" in process.errors
    assert find_checkpoint(disk / "run")[1] == []
    filler.unlink()
    process = train(disk / "run", "--resume")
    process.event("checkpoint")
    assert_whole(process, disk / "run")


def test_no_run_starts_on_a_full_disk(train: Train, mount: Mount) -> None:
    disk = mount("size=1m")
    fill(disk)
    process = train(disk / "run")
    assert process.wait() == 3
    assert "No space left on device" in process.errors
    assert "Traceback" not in process.errors


def test_full_inodes_delay_saves_but_not_training(train: Train, mount: Mount) -> None:
    disk = mount("size=50m,nr_inodes=200")
    process = train(disk / "run", patch=SHORT_WAITS)
    process.event("checkpoint")
    many = disk / "many"
    many.mkdir()
    with contextlib.suppress(OSError):
        for number in range(200):
            (many / str(number)).touch()
    fails_then_recovers(process, lambda: shutil.rmtree(many), "No space left on device")
    assert_whole(process, disk / "run")


def test_no_run_starts_on_a_read_only_disk(train: Train, mount: Mount) -> None:
    process = train(mount("ro") / "run")
    assert process.wait() == 3
    assert "Read-only file system" in process.errors
    assert "Traceback" not in process.errors


def test_a_folder_that_becomes_read_only_delays_saves_but_not_training(
    train: Train, tmp_path: Path
) -> None:
    def immutable(sign: str) -> int:
        folder = tmp_path / "run/checkpoints"
        return subprocess.run(["chattr", f"{sign}i", folder], check=False).returncode

    process = train(tmp_path / "run")
    process.event("checkpoint")
    if immutable("+"):
        pytest.skip("only root can make a folder immutable")
    try:
        fails_then_recovers(process, lambda: immutable("-"), "Operation not permitted")
    finally:
        immutable("-")
    assert_whole(process, tmp_path / "run")


@pytest.mark.nightly
def test_a_quota_delays_saves_and_rows_but_not_training(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run", patch=SHORT_WAITS)
    process.event("checkpoint")
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, before[1]))

    def mend() -> None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)

    fails_then_recovers(process, mend, "File too large")
    assert_whole(process, tmp_path / "run")


@pytest.fixture
def network_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a network file system (sshfs) whose server does not answer."""
    folder = tmp_path / "network"
    folder.mkdir()
    code = (
        "import ctypes, os, sys\n"
        "device = os.open('/dev/fuse', os.O_RDWR)\n"
        "options = f'fd={device},rootmode=40000,user_id=0,group_id=0'.encode()\n"
        "sys.exit(ctypes.CDLL(None).mount(b'host:', sys.argv[1].encode(), b'fuse.sshfs', 0, options))"
    )
    command = ["python3", "-c", code, str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


def test_no_run_starts_on_a_network_disk(train: Train, network_disk: Path) -> None:
    process = train(network_disk / "run")
    assert process.wait() == 3
    assert "is on a network file system (fuse.sshfs)" in process.errors


def test_a_locked_database_delays_rows_but_not_training(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run", patch=SHORT_WAITS)
    process.event("checkpoint")
    with contextlib.closing(sqlite3.connect(tmp_path / "run/keisei.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        process.event("alert", name="database", message="database is locked; will be tried again")
        locked = len(process.events())
        process.event("checkpoint", locked)
    assert_whole(process, tmp_path / "run")


def test_a_damaged_database_does_not_end_training(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run", patch=SHORT_WAITS)
    process.event("checkpoint")
    for file in (tmp_path / "run").glob("keisei.db*"):
        file.write_bytes(b"noise" * 20_000)
    process.event("alert", name="database", message="damaged")
    damaged = len(process.events())
    process.event("checkpoint", damaged)
    assert process.stop() == 0
    assert find_checkpoint(tmp_path / "run")[1] == []


def test_a_removed_database_does_not_end_training_and_can_be_put_back(
    train: Train, tmp_path: Path
) -> None:
    process = train(tmp_path / "run", patch=SHORT_WAITS)
    process.event("checkpoint")
    (tmp_path / "run/keisei.db").rename(tmp_path / "keisei.db")
    process.event("alert", name="database", message="was removed or replaced")
    removed = len(process.events())
    process.event("checkpoint", removed)
    (tmp_path / "keisei.db").rename(tmp_path / "run/keisei.db")
    assert_whole(process, tmp_path / "run")


def test_a_checkpoint_folder_that_is_gone_is_made_again(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run")
    process.event("checkpoint")
    shutil.rmtree(tmp_path / "run/checkpoints")
    gone = len(process.events())
    process.event("checkpoint", gone)
    process.event("checkpoint", gone + 5)
    assert_whole(process, tmp_path / "run")


@pytest.mark.nightly
def test_a_run_whose_settings_are_damaged_is_not_resumed(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run", "--run.steps", 200)
    assert process.wait() == 0
    settings = tmp_path / "run/run.toml"
    settings.write_bytes(settings.read_bytes().replace(b"minibatch = 64", b"minibatch = 65"))
    process = train(tmp_path / "run", "--resume")
    assert process.wait() == 3
    assert "run.toml: its last line, the checksum, is wrong" in process.errors
    assert "begin a new run with the weights of this run: --init" in process.errors
