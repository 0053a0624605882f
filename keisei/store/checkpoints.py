"""Checkpoints: whole and finite, or refused.

A checkpoint is a folder ``checkpoints/<step>/`` of safetensors files (one a group of tensors),
``state.json`` and ``manifest.json`` with the size and SHA-256 of each (safetensors has no checksum:
a flipped bit would load as a wrong weight). Of several processes that train together each but the
first adds files of its own (``env.1.safetensors``, ``state.1.json``). It is written under another
name, brought to the disk with its manifest last, and renamed: a crash at any moment leaves it
complete or not there.

None holds a number that is not finite (``first_not_finite``): training could only go on to nowhere.
Torch is imported where tensors are read or written, not before: a wrong path is told at once.
"""

import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from keisei.store.files import json_object, open_file, read_file, sync_folder, write_synced

if TYPE_CHECKING:
    from torch import Tensor

    from keisei.store.directory import RunDirectory

FORMAT = 1
CHECKPOINTS = "checkpoints"
MANIFEST = "manifest.json"
STATE = "state.json"
SUFFIX = ".safetensors"
WEIGHTS = "weights"
"""The group of the network's weights: all that a player needs."""

Files = dict[str, dict[str, Any]]
"""Size and SHA-256 of files, by name."""


class CheckpointError(ValueError):
    """A checkpoint that can't be used. The message names the file and says why."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is not what was written, or holds numbers that are not finite."""


class NotFiniteError(ArithmeticError):
    """A checkpoint that was not written, for a number of it is not finite. The message says which."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What ``save_checkpoint`` was given, read back."""

    path: Path
    step: int
    tensors: dict[str, dict[str, "Tensor"]]
    """Group (``weights``, ``optimizer`` ...) to name to CPU tensor."""
    state: dict[str, Any]


def save_checkpoint(
    run: "RunDirectory",
    step: int,
    tensors: Mapping[str, Mapping[str, "Tensor"]],
    state: Mapping[str, Any],
    others: Callable[[Path], Files] = lambda folder: {},
) -> Path:
    """Write a checkpoint, then remove the oldest beyond ``run.checkpoints_kept`` that nobody needs.

    ``others`` has the other processes ``write_part`` into a folder, and waits for them. A valid
    checkpoint of the same step is left as it is: a run comes to a step once. Raises NotFiniteError,
    OSError (full disk ...), and what ``others`` raises; the checkpoints that were there then still are.
    """
    folder = run.path / CHECKPOINTS
    final = folder / checkpoint_name(step)
    remove_leftovers(folder)
    if final.exists():
        try:
            _examine(final)
        except CheckpointError:
            _remove(final)
        else:
            return final
    new = folder / f".new-{final.name}"
    try:
        _write(new, step, tensors, state, others)
        new.rename(final)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)  # a full disk needs the space
        raise
    sync_folder(folder)
    # Newer ones than this were refused when the run was resumed; they must not push it out.
    older = [path for path in checkpoint_folders(folder) if int(path.name) <= step]
    for path in older[: -run.settings.run.checkpoints_kept]:
        if int(path.name) not in run.needed:
            _remove(path)
    return final


def load_checkpoint(path: Path, rank: int = 0, *, only: str | None = None) -> Checkpoint:
    """Verify and read the checkpoint in the folder ``path``, as rank ``rank`` wrote it.

    What that rank did not write is rank 0's. ``only``: the one group that is wanted. Raises
    CheckpointError.
    """
    manifest = verify(path, only)
    chosen: dict[str, str] = {}
    for name in manifest["files"]:  # rank 0's come first
        group, _, part = name.removesuffix(SUFFIX).partition(".")
        if name.endswith(SUFFIX) and part in {"", str(rank)} and only in {None, group}:
            chosen[group] = name
    tensors = {group: _read_tensors(path / name) for group, name in chosen.items()}
    return Checkpoint(path, manifest["step"], tensors, read_state(path, rank))


def find_checkpoint(path: Path, *, only: str | None = None) -> tuple[Path, list[CheckpointError]]:
    """The checkpoint at ``path``: itself, or the newest valid one of a run, all numbers finite.

    Also the errors of the newer ones of the run that were refused, to be told to the user.
    ``only``: the one group of tensors that is wanted. Raises CheckpointError if there is no valid one.
    """
    check_holds_weights(path)
    if path.is_symlink():  # `best` is one
        path = path.parent / path.readlink()
    if (path / MANIFEST).exists() or not (path / CHECKPOINTS).is_dir():
        _examine(path, only)
        return path, []
    refused: list[CheckpointError] = []
    for candidate in reversed(checkpoint_folders(path / CHECKPOINTS)):
        try:
            _examine(candidate, only)
        except CheckpointError as error:
            refused.append(error)
        else:
            return candidate, refused
    if not refused:
        raise CheckpointError(f"{path}: no checkpoint yet")
    reasons = "; ".join(str(error) for error in refused)
    raise DamagedCheckpointError(
        f"{path}: no valid checkpoint ({reasons}): put one back from a copy, or begin a new run"
    )


def check_holds_weights(path: Path) -> None:
    """Refuse a path that is neither a run nor a checkpoint, valid or not. Raises CheckpointError."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or folder")
    if not any((path / name).exists() for name in (CHECKPOINTS, MANIFEST, STATE)):
        raise CheckpointError(
            f"{path} is neither a run (it has no {CHECKPOINTS}) nor a checkpoint (it has no {MANIFEST})"
        )


def checkpoint_name(step: int) -> str:
    """The folder of a step's checkpoint."""
    return f"{step:012d}"


def checkpoint_folders(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, by step, oldest first. They may be damaged."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()),
        key=lambda path: int(path.name),
    )


def remove_leftovers(folder: Path) -> None:
    """Remove what a crash during a save or a removal left. Only for the run's writer."""
    for path in (*folder.glob(".new-*"), *folder.glob(".old-*")):
        shutil.rmtree(path)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the checkpoint in ``path``, checked against its own checksum only."""
    file = path / MANIFEST
    try:
        manifest = json_object(read_file(file))
        stated = manifest.pop("sha256")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: not a complete checkpoint (no {MANIFEST})") from None
    except OSError as error:
        raise DamagedCheckpointError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError):
        raise DamagedCheckpointError(f"{file}: damaged (not a manifest)") from None
    if stated != _manifest_digest(manifest):
        raise DamagedCheckpointError(f"{file}: damaged (its checksum differs)")
    if manifest.get("format") != FORMAT:
        found = manifest.get("format")
        raise CheckpointError(f"{file}: format {found!r}; this version reads format {FORMAT}")
    if not _well_formed(manifest):
        raise DamagedCheckpointError(f"{file}: not a manifest of format {FORMAT}")
    return manifest


def read_state(path: Path, rank: int = 0) -> dict[str, Any]:
    """The state in the checkpoint in ``path``, as rank ``rank`` wrote it. Raises CheckpointError."""
    file = path / _name(STATE, rank)
    try:
        return json_object(read_file(file))
    except OSError as error:
        raise DamagedCheckpointError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise DamagedCheckpointError(f"{file}: damaged ({error})") from None


def verify(path: Path, only: str | None = None) -> dict[str, Any]:
    """Check size and SHA-256 of every file; the manifest. Raises CheckpointError.

    ``only``: of this group's files, and of the states; large ones of no interest cost seconds.
    """
    manifest = read_manifest(path)
    for name, stated in manifest["files"].items():
        if not _wanted(name, only):
            continue
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


def first_not_finite(tensors: Mapping[str, "Tensor"]) -> str | None:
    """The name of the first tensor that holds NaN or an infinity.

    The extremes tell it (both are NaN where one number is), at the speed of memory and without a
    copy: under 1 ms for a million numbers on one core.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            low, high = tensor.aminmax()
            if not (math.isfinite(low) and math.isfinite(high)):
                return name
    return None


def write_part(
    folder: Path, rank: int, tensors: Mapping[str, Mapping[str, "Tensor"]], state: Mapping[str, Any]
) -> Files:
    """Write one process's files of the checkpoint that is being made in ``folder``.

    Raises NotFiniteError before it writes any, and OSError.
    """
    from safetensors.torch import save

    for group, named in tensors.items():
        if bad := first_not_finite(named):
            raise NotFiniteError(f"{group}/{bad} is not finite")
    files: Files = {}

    def put(name: str, data: bytes) -> None:
        write_synced(folder / name, data)
        files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    for group, named in tensors.items():
        # Weights may be channels_last; safetensors takes only the plain memory format.
        plain = {name: tensor.contiguous() for name, tensor in named.items()}
        put(_name(group + SUFFIX, rank), save(plain))
    put(_name(STATE, rank), json.dumps(state, indent=1).encode())
    return files


def _write(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, "Tensor"]],
    state: Mapping[str, Any],
    others: Callable[[Path], Files],
) -> None:
    folder.mkdir()
    files = write_part(folder, 0, tensors, state) | others(folder)
    manifest = {"format": FORMAT, "step": step, "created": time.time(), "files": files}
    manifest["sha256"] = _manifest_digest(manifest)
    write_synced(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    sync_folder(folder)


def _examine(path: Path, only: str | None = None) -> None:
    """Check all of a checkpoint: its files, that each can be read, and the numbers in them.

    Raises CheckpointError.
    """
    for name in verify(path, only)["files"]:
        if name.endswith(SUFFIX) and _wanted(name, only):
            _read_tensors(path / name)
    read_state(path)


def _wanted(name: str, only: str | None) -> bool:
    """Whether a file is of the group ``only``, or a state."""
    return only is None or name.partition(".")[0] in {only, "state"}


def _read_tensors(file: Path) -> dict[str, "Tensor"]:
    from safetensors.torch import load

    try:
        tensors: dict[str, Tensor] = load(read_file(file))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DamagedCheckpointError(f"{file}: {error}") from None
    if bad := first_not_finite(tensors):
        group = file.name.partition(".")[0]
        raise DamagedCheckpointError(f"{file}: {group}/{bad} is not finite")
    return tensors


def _name(file: str, rank: int) -> str:
    """The name of rank's own copy of a file: ``env.safetensors``, ``env.1.safetensors``."""
    stem, _, suffix = file.partition(".")
    return f"{stem}.{rank}.{suffix}" if rank else file


def _well_formed(manifest: dict[str, Any]) -> bool:
    """Whether a manifest with the right checksum, which anybody can make, is one of ours."""
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
    match entry:
        case {"size": int(), "sha256": str()}:
            return re.fullmatch(r"\w[\w.]*", name, re.ASCII) is not None  # a file of this folder
    return False


def _manifest_digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _remove(path: Path) -> None:
    # Renamed first: a crash must not leave half a checkpoint under a checkpoint's name.
    old = path.with_name(f".old-{path.name}")
    path.rename(old)
    shutil.rmtree(old)
