"""Writing files so that a crash leaves the old one or the new one, never a half."""

import os
from pathlib import Path


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
