"""The lock of a run directory: one process at a time may write there."""

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

from keisei.store.files import json_object, read_file


class RunLockedError(RuntimeError):
    """Another process writes this run. The message names its pid and host."""


class Lock:
    """A file that names its writer (pid, host) and is locked by ``flock``.

    When a process dies, however it dies, the kernel releases its lock; the next process takes the
    lock over. A lock that a process on *another* host left is not taken over: on a network file
    system we can't know whether that process lives. ``release`` empties the file and does not
    remove it: otherwise two processes might each lock a file of this name, on different inodes.
    """

    def __init__(self, path: Path) -> None:
        """Acquire the lock.

        Raises:
            RunLockedError: another process holds it, or this process already does.
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
        self._file.truncate(0)
        self._file.write(json.dumps({"pid": os.getpid(), "host": here}))
        self._file.flush()

    def release(self) -> None:
        """Release the lock. Further calls do nothing."""
        if not self._file.closed:
            self._file.truncate(0)
            self._file.close()


def holder_pid(path: Path) -> int | None:
    """Return the pid that a lock file names; None if it names none. The process may be dead.

    Raises OSError.
    """
    pid = _read(path).get("pid")
    return pid if isinstance(pid, int) else None


def _read(path: Path) -> dict[str, object]:
    """Return what a lock file holds; nothing if it is empty or damaged."""
    try:
        return json_object(read_file(path))
    except ValueError:  # empty: it was released, or its holder has not written yet
        return {}


def _holder(path: Path) -> str:
    """Return the writer that a lock file names, for messages."""
    holder = _read(path)
    return f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}"
