"""The manifest of a checkpoint: the size and SHA-256 of each file, and their verification."""

import hashlib
import json
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import psutil

from keisei import formats
from keisei.store.files import json_object, open_file, read_file, sync_folder, write_synced

MANIFEST = "manifest.json"
STATE = "state.json"
LARGEST_JSON = 32 * 2**20
"""Largest size of a manifest or state, in bytes. A larger file could fill the memory."""

Files = dict[str, dict[str, Any]]
"""Type of a dict that maps the name of each file to the file's ``size`` and ``sha256``."""


class CheckpointError(ValueError):
    """A checkpoint can't be used. The message names the file and says why."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint was changed after it was written, or it contains NaN or infinity."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a checkpoint's manifest and verify the manifest's own checksum.

    The other files are not verified. Raises CheckpointError.
    """
    file = path / MANIFEST
    try:
        manifest = json_object(read_file(file, LARGEST_JSON))
        stated = manifest.pop("sha256")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: not a complete checkpoint (no {MANIFEST})") from None
    except OSError as error:
        raise DamagedCheckpointError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError):
        raise DamagedCheckpointError(f"{file}: damaged (not a manifest)") from None
    if stated != _manifest_digest(manifest):
        raise DamagedCheckpointError(f"{file}: damaged (its checksum differs)")
    if why := formats.too_new(file, manifest.get("format"), formats.MANIFEST):
        raise CheckpointError(why)
    if manifest.get("format") != formats.MANIFEST or not _well_formed(manifest):
        raise DamagedCheckpointError(f"{file}: not a manifest of format {formats.MANIFEST}")
    return manifest


def verify(path: Path, only: str | None = None) -> dict[str, Any]:
    """Check the size and SHA-256 of all files, and return the manifest. Raises CheckpointError.

    ``only``: name of a group; check only the files of this group and the states. The check of
    large files takes seconds.
    """
    manifest = read_manifest(path)
    chosen = {name: entry for name, entry in manifest["files"].items() if in_group(name, only)}
    _check_memory(path, sum(entry["size"] for entry in chosen.values()))
    for name, stated in chosen.items():
        file = path / name
        try:
            with open_file(file) as stream:
                size = os.fstat(stream.fileno()).st_size
                if size != stated["size"]:
                    why = f"{size} bytes, not {stated['size']}"
                    raise DamagedCheckpointError(f"{file}: damaged ({why})")
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DamagedCheckpointError(f"{file}: {error.strerror}") from None
        if digest != stated["sha256"]:
            why = "its SHA-256 differs from the manifest's"
            raise DamagedCheckpointError(f"{file}: damaged ({why})")
    return manifest


def _check_memory(path: Path, size: int) -> None:
    """Raise CheckpointError if the files of a checkpoint are larger than this machine's memory."""
    total = psutil.virtual_memory().total
    if size > total:
        raise CheckpointError(
            f"{path}: its files have {size / 2**30:,.1f} GiB, and this machine has"
            f" {total / 2**30:,.1f} GiB of memory"
        )


def write_manifest(folder: Path, step: int, files: Files) -> None:
    """Write a checkpoint's last file, and sync the folder. ``files``: all other files."""
    manifest = {"format": formats.MANIFEST, "step": step, "created": time.time(), "files": files}
    manifest["sha256"] = _manifest_digest(manifest)
    write_synced(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    sync_folder(folder)


def in_group(name: str, only: str | None) -> bool:
    """Return whether a file is a state, or belongs to the group ``only`` (None: any group)."""
    return only is None or name.partition(".")[0] in {only, "state"}


def _well_formed(manifest: dict[str, Any]) -> bool:
    """Return whether a manifest has the right keys and types; a checksum does not prove this."""
    match manifest:
        case {"step": int(step), "created": float(created), "files": {"state.json": _}}:
            entries = manifest["files"].items()
            return (
                0 <= step < 2**63
                and math.isfinite(created)
                and all(_is_entry(name, entry) for name, entry in entries)
            )
    return False


def _is_entry(name: str, entry: object) -> bool:
    """Return whether a manifest's entry is a plain file name with its size and SHA-256."""
    match entry:
        case {"size": int(), "sha256": str()}:
            # A name such as ../x would mean a file outside the checkpoint's folder.
            return re.fullmatch(r"\w[\w.]*", name, re.ASCII) is not None
    return False


def _manifest_digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
