"""Read regular files, but no pipes. Write files atomically, and sync them to the disk."""

import errno
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading. Raises OSError for any other path, such as a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, largest: int | None = None) -> bytes:
    """Return the contents of a regular file.

    Raises OSError, also if the file has more than ``largest`` bytes.
    """
    with open_file(path) as file:
        if largest is not None and os.fstat(file.fileno()).st_size > largest:
            raise OSError(errno.EFBIG, f"larger than {largest:,} bytes", str(path))
        return file.read()


def json_object(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises ValueError if the text is not a JSON object."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (the text is wrong, not its type)
    return found


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and sync its contents to the disk.

    To sync the file's name too, call ``sync_folder``.
    """
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Sync a folder's entries (the names of its files) to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_unsynced(path: Path, data: bytes) -> None:
    """Atomically replace a file's contents by ``data``. After a power cut, the file may be damaged.

    Unlike ``replace_synced``, this function does not wait for the disk.
    """
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.replace(path)


def replace_synced(path: Path, data: bytes) -> None:
    """Atomically replace a file's contents by ``data``. Sync contents and name to the disk."""
    new = path.with_name(f".{path.name}.new")
    write_synced(new, data)
    new.replace(path)
    sync_folder(path.parent)
