"""One process at a time writes a run; dead processes keep nobody out."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keisei.config import Settings
from keisei.store import RunDirectory, RunLockedError
from keisei.store.lock import Lock, holder_pid, holder_state, locked

HOLD = """
import sys, pathlib
from keisei.store.lock import Lock
lock = Lock(pathlib.Path(sys.argv[1]) / "lock")
print("held", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_live_process_keeps_others_out_and_a_dead_one_does_not(tmp_path: Path) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    with hold(tmp_path / "a") as holder:
        with pytest.raises(RunLockedError, match=f"pid {holder.pid} on {socket.gethostname()}"):
            RunDirectory.open(tmp_path / "a")
        holder.kill()
        holder.wait()
    assert json.loads((tmp_path / "a" / "lock").read_text())["pid"] == holder.pid
    with RunDirectory.open(tmp_path / "a"):
        assert json.loads((tmp_path / "a" / "lock").read_text())["pid"] == os.getpid()


def test_one_process_may_not_open_a_run_twice(tmp_path: Path) -> None:
    with RunDirectory.create(Settings(), tmp_path / "a") as run, pytest.raises(RunLockedError):
        RunDirectory.open(tmp_path / "a")
    run.close()  # again
    RunDirectory.open(tmp_path / "a").close()


def test_a_lock_of_another_host_is_not_taken_over(tmp_path: Path) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    (tmp_path / "a" / "lock").write_text('{"pid": 12, "host": "elsewhere"}')
    with pytest.raises(RunLockedError, match=r"pid 12 on elsewhere.*remove .*/a/lock"):
        RunDirectory.open(tmp_path / "a")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\udcff", "7", '{"host": 3', "\0" * 99])
def test_a_damaged_lock_file_keeps_nobody_out(tmp_path: Path, text: str) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    (tmp_path / "a" / "lock").write_bytes(os.fsencode(text))
    with RunDirectory.open(tmp_path / "a"):
        assert json.loads((tmp_path / "a" / "lock").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
def test_a_lock_that_is_not_a_file_is_refused_without_waiting(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    (tmp_path / "a" / "lock").unlink()
    make(tmp_path / "a" / "lock")
    with pytest.raises(OSError, match="lock"):
        RunDirectory.open(tmp_path / "a")


def test_a_lock_file_names_its_holder_until_the_release(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    assert holder_pid(tmp_path / "lock") == os.getpid()
    lock.release()
    lock.release()
    assert holder_pid(tmp_path / "lock") is None


def test_work_under_the_lock_does_not_change_the_state_of_an_interrupted_run(
    tmp_path: Path,
) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    lock = tmp_path / "a" / "lock"
    lock.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    os.utime(lock, (1, 1))  # this process is younger, so another one had the pid
    assert holder_state(lock) == "interrupted"
    with locked(tmp_path / "a"):
        assert holder_state(lock) == "running"
        with pytest.raises(RunLockedError):
            RunDirectory.open(tmp_path / "a")
    assert holder_state(lock) == "interrupted"
    RunDirectory.open(tmp_path / "a").close()
