"""The lock of a run directory. Only the process that has the lock may write in the directory."""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psutil

from keisei.store.files import json_object, read_file
from keisei.store.layout import LOCK_FILE

CLOCK_ERROR = 2.0
"""Maximum error of a process's start time, in seconds."""

HolderState = Literal["running", "ended", "interrupted", "unknown"]
"""State of the process that writes a run: it runs, it closed the run, it died without closing the
run, or it belongs to another machine."""


class RunLockedError(RuntimeError):
    """Another process has the lock of this run. The message gives that process's pid and host."""


class Lock:
    """The lock of a run: a file that ``flock`` locks and that contains a process's pid and host.

    When that process ends for any reason, the kernel releases the lock, and another process can
    acquire the lock. If the file names *another* host, the lock can't be acquired, because the
    process on that host may still be alive. ``release`` empties the file but does not remove the
    file. Otherwise one process could lock the removed file, and another process could lock a new
    file with the same name.
    """

    def __init__(self, path: Path) -> None:
        """Acquire the lock.

        Raises:
            RunLockedError: another process has the lock, or this process already has it.
            OSError: the file can't be opened.
        """
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "not a regular file; remove it", str(path))
        self._file = path.open("a", encoding="utf-8")
        try:
            self._acquire(path)
        except BaseException:
            self._file.close()
            raise

    def _acquire(self, path: Path) -> None:
        here = socket.gethostname()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunLockedError(f"{path.parent} is in use by {_holder(path)}") from None
        if _read(path).get("host", here) != here:
            raise RunLockedError(
                f"{path.parent} is locked by {_holder(path)}; "
                f"if that process no longer runs, remove {path}"
            )
        self._before = path.read_text("utf-8", "replace"), path.stat()
        self._file.truncate(0)
        self._file.write(json.dumps({"pid": os.getpid(), "host": here}))
        self._file.flush()

    def release(self) -> None:
        """Release the lock. Further calls do nothing."""
        if not self._file.closed:
            self._file.truncate(0)
            self._file.close()

    def restore(self) -> None:
        """Release the lock, and give the file the contents and the time that it had before.

        Then ``holder_state`` still describes the process that trained the run.
        """
        text, state = self._before
        self._file.truncate(0)
        self._file.write(text)
        self._file.flush()
        os.utime(self._file.fileno(), ns=(state.st_atime_ns, state.st_mtime_ns))
        self._file.close()


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Have the lock of the run in the folder ``run`` during the block, without training the run.

    The state of the run (``holder_state``) stays as it is. Raises RunLockedError, OSError.
    """
    lock = Lock(run / LOCK_FILE)
    try:
        yield
    finally:
        lock.restore()


def holder_pid(path: Path) -> int | None:
    """Return the pid in a lock file; None if the file contains no pid. Raises OSError.

    The process with this pid need not exist any more.
    """
    pid = _read(path).get("pid")
    return pid if isinstance(pid, int) else None


def holder_state(path: Path) -> HolderState:
    """Return the state of the process that last wrote the run. Raises OSError.

    This function does not acquire the lock.
    """
    if not path.exists():
        return "ended"
    holder = _read(path)
    if not holder:
        return "ended"
    if holder.get("host") != socket.gethostname() or not isinstance(pid := holder.get("pid"), int):
        return "unknown"
    try:
        # If the process is younger than the file, another process wrote the file and has ended.
        alive = psutil.Process(pid).create_time() <= path.stat().st_mtime + CLOCK_ERROR
    except (psutil.Error, OverflowError, ValueError):
        alive = False
    return "running" if alive else "interrupted"


def _read(path: Path) -> dict[str, object]:
    """Return the contents of a lock file, or an empty dict if the file is empty or damaged."""
    try:
        return json_object(read_file(path))
    except ValueError:  # an empty file means: the lock is free, or is being acquired
        return {}


def _holder(path: Path) -> str:
    """Describe the process that a lock file names, for an error message."""
    holder = _read(path)
    return f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}"
