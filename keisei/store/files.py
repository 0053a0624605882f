"""Files as they must be read and written: whole or not at all, and without waiting for anybody."""

import errno
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any


def open_file(path: Path) -> BufferedReader:
    """Open a regular file to read. Raises OSError, also for a pipe, which it never waits for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_file(path: Path) -> bytes:
    """What a regular file holds. Raises OSError."""
    with open_file(path) as file:
        return file.read()


def json_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object from its text. Raises ValueError if the text is anything else."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (the text is wrong, not its type)
    return found


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and bring it to the disk. Its name is durable once its folder is synced."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Bring a folder's entries (new names, renames) to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_synced(path: Path, data: bytes) -> None:
    """Put ``data`` in place of a file, atomically and durably."""
    new = path.with_name(f".{path.name}.new")
    write_synced(new, data)
    new.replace(path)
    sync_folder(path.parent)
