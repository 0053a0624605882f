"""One writer a run directory."""

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

from keisei.store.files import json_object, read_file


class RunLockedError(RuntimeError):
    """Another process writes to this run. The message names its pid and host."""


class Lock:
    """A file that says who writes (pid, host), held by ``flock``.

    The kernel drops the lock of a process that died, however it died, so what such a process left
    is taken over. What a process on *another* host left is not: over a network file system nobody
    here can know whether it lives. The file is emptied, not removed, on release: removing a locked
    file lets two processes hold "the" lock, each on its own inode.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises RunLockedError if another process, or this one, has it; OSError."""
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "not a regular file; remove it", str(path))
        self._file = path.open("a", encoding="utf-8")
        try:
            self._take(path)
        except BaseException:
            self._file.close()
            raise

    def _take(self, path: Path) -> None:
        here = socket.gethostname()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunLockedError(f"{path.parent} is in use by {_holder(path)}") from None
        if _read(path).get("host", here) != here:
            raise RunLockedError(
                f"{path.parent} was in use by {_holder(path)} and never let go; "
                f"if that process is gone, remove {path}"
            )
        self._file.truncate(0)
        self._file.write(json.dumps({"pid": os.getpid(), "host": here}))
        self._file.flush()

    def release(self) -> None:
        """Let go. May be called again."""
        if not self._file.closed:
            self._file.truncate(0)
            self._file.close()


def holder_pid(path: Path) -> int | None:
    """The process that says in this lock file that it writes; it may be gone. None if none does.

    Raises OSError.
    """
    pid = _read(path).get("pid")
    return pid if isinstance(pid, int) else None


def _read(path: Path) -> dict[str, object]:
    try:
        return json_object(read_file(path))
    except ValueError:  # empty: released, or its holder has not written yet
        return {}


def _holder(path: Path) -> str:
    holder = _read(path)
    return f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}"
