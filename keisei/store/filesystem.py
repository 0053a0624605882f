"""Find the file system of a folder, and refuse network file systems, which can damage databases."""

import re
from pathlib import Path

from keisei.store.database import DatabaseError

MOUNTS = Path("/proc/mounts")
"""Linux's list of mounted file systems."""

_NETWORK = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs"),
        *("fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs"),
        *("fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    }
)
"""File systems that several machines share, by the names that Linux uses."""


class NetworkFileSystemError(DatabaseError):
    """A run's folder is on a network file system."""


def file_system(path: Path) -> str:
    """Return the type of the file system of a folder, such as ``ext4``, or "" if unknown.

    The folder need not exist yet.
    """
    try:
        lines = MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:  # not Linux
        return ""
    folder, found = path.resolve(), (-1, "")
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        mounted = Path(_unescape(point))
        # A later mount on the same folder hides the earlier one.
        if folder.is_relative_to(mounted) and len(mounted.parts) >= found[0]:
            found = len(mounted.parts), kind
    return found[1]


def check_file_system(path: Path) -> str:
    """Return the type of a folder's file system, as ``file_system`` does.

    Raises NetworkFileSystemError if the file system is a network file system. An SQLite database in
    WAL mode is not safe there: file locks can fail, and processes on two machines share no memory.
    """
    kind = file_system(path)
    if kind in _NETWORK:
        raise NetworkFileSystemError(
            f"{path}: is on a network file system ({kind}), on which the run's database (SQLite in "
            "WAL mode) can be damaged: choose a folder on a local disk with --run or --run.root"
        )
    return kind


def _unescape(point: str) -> str:
    """Decode ``\\040`` and other octal escapes in the path of a mount."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
