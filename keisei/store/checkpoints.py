"""Write checkpoints atomically, and verify them when they are read.

A checkpoint is a folder ``checkpoints/<step>/``. It contains ``state.json``, one safetensors
file for each group of tensors, and ``manifest.json`` with the size and SHA-256 of each other file.
(The safetensors format has no checksum, so nothing else would detect a flipped bit in a weight.) If
several processes train together, each process with a rank above 0 adds its own files
(``env.1.safetensors``, ``state.1.json``).

A save writes all files into a folder with a temporary name. The manifest is the last of these
files. Then the save syncs this folder to the disk and renames it. Therefore a crash during a save
leaves either a complete checkpoint or no checkpoint of this step.

All numbers in a checkpoint are finite, because training can't recover from NaN or infinity. Only
functions that read or write tensors import torch. Therefore a wrong path is reported without the
slow import of torch.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from keisei import formats
from keisei.store.directory import RunDirectory
from keisei.store.files import json_object, read_file, sync_folder, write_synced
from keisei.store.layout import (
    CHECKPOINTS,
    checkpoint_folders,
    checkpoint_name,
    remove_checkpoint,
    remove_leftovers,
)
from keisei.store.manifest import (
    LARGEST_JSON,
    MANIFEST,
    STATE,
    CheckpointError,
    DamagedCheckpointError,
    Files,
    in_group,
    read_manifest,
    verify,
    write_manifest,
)
from keisei.store.older_system import refusal
from keisei.store.planes import add_planes
from keisei.store.retention import surplus

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
WEIGHTS = "weights"
"""Name of the group of tensors with the network's weights. A player needs only this group."""


class NotFiniteError(ArithmeticError):
    """A tensor contains NaN or infinity, so it was not saved. The message names the tensor."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a checkpoint: its step, tensors and state."""

    path: Path
    step: int
    tensors: dict[str, dict[str, "Tensor"]]
    """CPU tensors of each group (``weights``, ``optimizer`` ...), by name of the tensor."""
    state: dict[str, Any]


def save_checkpoint(
    run: RunDirectory,
    step: int,
    tensors: Mapping[str, Mapping[str, "Tensor"]],
    state: Mapping[str, Any],
    others: Callable[[Path], Files] = lambda folder: {},
) -> Path:
    """Write a checkpoint, then remove old checkpoints.

    ``surplus`` says which checkpoints the settings remove. Checkpoints of the steps in
    ``run.needed`` always stay. If a valid checkpoint of this step exists already, nothing is
    written. If the save fails, no valid checkpoint is lost.

    Args:
        run: the run, whose lock this process must have.
        step: the training step.
        tensors: the tensors of each group, by name of the tensor.
        state: any JSON values.
        others: function that gets the new folder, lets the files of the other ranks be written
            there by ``write_part``, and returns the sizes and checksums of these files.

    Returns:
        The checkpoint's folder.

    Raises:
        NotFiniteError: a tensor contains NaN or infinity.
        OSError: a file cannot be written, for example because the disk is full.
    """
    folder = run.path / CHECKPOINTS
    final = folder / checkpoint_name(step)
    folder.mkdir(exist_ok=True)  # a user may have removed it
    remove_leftovers(folder)
    if final.exists():
        try:
            _examine(final)
        except CheckpointError:
            remove_checkpoint(final)
        else:
            return final
    new = folder / f".new-{final.name}"
    try:
        _write(new, step, tensors, state, others)
        new.rename(final)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)  # make room on a full disk
        raise
    sync_folder(folder)
    # Ignore checkpoints of later steps, which the resumed run refused as damaged. Otherwise these
    # checkpoints would stay, and valid checkpoints would be removed.
    older = [path for path in checkpoint_folders(folder) if int(path.name) <= step]
    for path in surplus(older, run.settings.run):
        if int(path.name) not in run.needed:
            remove_checkpoint(path)
    return final


def load_checkpoint(path: Path, rank: int = 0, *, only: str | None = None) -> Checkpoint:
    """Verify and read a checkpoint. ``read_verified`` describes the arguments.

    Raises CheckpointError if the checkpoint is damaged, or contains NaN or infinity.
    """
    verify(path, only)
    return read_verified(path, rank, only=only)


def read_verified(path: Path, rank: int = 0, *, only: str | None = None) -> Checkpoint:
    """Read a checkpoint whose checksums were verified before.

    Args:
        path: the checkpoint's folder.
        rank: rank of the process whose files are read. For each group that this rank did not
            write, the file of rank 0 is read.
        only: name of the one group of tensors to read; None means all groups.

    Raises:
        CheckpointError: the checkpoint is damaged, or contains NaN or infinity.
    """
    manifest = read_manifest(path)
    state = read_state(path, rank)
    chosen: dict[str, str] = {}
    # Rank 0's files come first in the manifest, so a file of `rank` replaces the file of rank 0.
    for name in manifest["files"]:
        group, _, part = name.removesuffix(SUFFIX).partition(".")
        if name.endswith(SUFFIX) and part in {"", str(rank)} and only in {None, group}:
            chosen[group] = name
    tensors = {group: _read_tensors(path / name) for group, name in chosen.items()}
    return Checkpoint(path, manifest["step"], add_planes(tensors, state), state)


def find_checkpoint(
    path: Path, *, only: str | None = None, check: Callable[[Path], None] = lambda path: None
) -> tuple[Path, list[CheckpointError]]:
    """Find the newest valid checkpoint of a run, or check a single checkpoint.

    Args:
        path: the folder of a run or of a checkpoint.
        only: name of the one group of tensors to check; None means all groups.
        check: function that raises CheckpointError for a run's checkpoint that the caller can't
            use.

    Returns:
        The checkpoint's folder, and the errors of the run's newer checkpoints. All these
        newer checkpoints are damaged. The caller should show the errors to the user.

    Raises:
        CheckpointError: there is no valid checkpoint.
    """
    check_holds_weights(path)
    if path.is_symlink():  # for example `best`
        path = path.parent / path.readlink()
    if (path / MANIFEST).exists() or not (path / CHECKPOINTS).is_dir():
        _examine(path, only)
        return path, []
    refused: list[CheckpointError] = []
    for candidate in reversed(checkpoint_folders(path / CHECKPOINTS)):
        try:
            _examine_in_run(candidate, only)
            check(candidate)
        except CheckpointError as error:
            refused.append(error)
        else:
            return candidate, refused
    if not refused:
        raise CheckpointError(f"{path}: no checkpoint yet")
    reasons = "; ".join(str(error) for error in refused)
    raise DamagedCheckpointError(
        f"{path}: no valid checkpoint ({reasons}): restore one from a copy, or begin a new run"
    )


def check_holds_weights(path: Path) -> None:
    """Raise CheckpointError if a path is neither a run nor a (valid or damaged) checkpoint."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or folder")
    if not any((path / name).exists() for name in (CHECKPOINTS, MANIFEST, STATE)):
        if why := refusal(path):
            raise CheckpointError(why)
        raise CheckpointError(
            f"{path} is neither a run (it has no {CHECKPOINTS}) nor a checkpoint (it has no {MANIFEST})"
        )


def read_state(path: Path, rank: int = 0) -> dict[str, Any]:
    """Read the state that process ``rank`` wrote into a checkpoint. Raises CheckpointError."""
    file = path / _name(STATE, rank)
    try:
        state = json_object(read_file(file, LARGEST_JSON))
    except OSError as error:
        raise DamagedCheckpointError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise DamagedCheckpointError(f"{file}: damaged ({error})") from None
    if why := formats.too_new(file, state.get("format"), formats.STATE):
        raise CheckpointError(why)
    return state


def first_not_finite(tensors: Mapping[str, "Tensor"]) -> str | None:
    """Return the name of the first tensor that contains NaN or infinity; None if no tensor does.

    This function computes each tensor's minimum and maximum, which are NaN if any number is NaN. It
    reads each number once and makes no copy (under 1 ms for a million numbers on one core).
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            low, high = tensor.aminmax()
            if not (math.isfinite(low) and math.isfinite(high)):
                return name
    return None


def write_part(
    folder: Path,
    rank: int,
    tensors: Mapping[str, Mapping[str, "Tensor"]],
    state: Mapping[str, Any],
    metadata: dict[str, str] | None = None,
) -> Files:
    """Write one process's files of a new checkpoint into ``folder``; return sizes and checksums.

    ``metadata`` goes into the header of each file of tensors. Raises OSError or NotFiniteError.
    NotFiniteError is raised before any file is written.
    """
    from safetensors.torch import save

    for group, named in tensors.items():
        if bad := first_not_finite(named):
            raise NotFiniteError(f"{group}/{bad} is not finite")
    files: Files = {}

    def write_file(name: str, data: bytes) -> None:
        write_synced(folder / name, data)
        files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    for group, named in tensors.items():
        # Weights may have the memory format channels_last; safetensors needs contiguous tensors.
        plain = {name: tensor.contiguous() for name, tensor in named.items()}
        write_file(_name(group + SUFFIX, rank), save(plain, metadata))
    write_file(_name(STATE, rank), json.dumps(state, indent=1).encode())
    return files


def _write(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, "Tensor"]],
    state: Mapping[str, Any],
    others: Callable[[Path], Files],
) -> None:
    """Write a whole checkpoint into a new folder. The manifest is written last."""
    folder.mkdir()
    files = write_part(folder, 0, tensors, state) | others(folder)
    write_manifest(folder, step, files)


def _examine_in_run(path: Path, only: str | None = None) -> None:
    """Do the same as ``_examine``, and check that the folder has the name of its step."""
    step = _examine(path, only)["step"]
    if int(path.name) != step:
        raise DamagedCheckpointError(f"{path}: contains the checkpoint of step {step:,}")


def _examine(path: Path, only: str | None = None) -> dict[str, Any]:
    """Verify a checkpoint's files, and check that no tensor contains NaN or infinity.

    Returns the manifest. Raises CheckpointError.
    """
    manifest = verify(path, only)
    for name in manifest["files"]:
        if name.endswith(SUFFIX) and in_group(name, only):
            _read_tensors(path / name)
    read_state(path)
    return manifest


def _read_tensors(file: Path) -> dict[str, "Tensor"]:
    """Read a safetensors file. Raises CheckpointError for damage, NaN or infinity."""
    from safetensors import safe_open
    from safetensors.torch import load

    try:
        with safe_open(file, "pt"):
            pass  # a header that does not fit the file is refused before the file is read
        tensors: dict[str, Tensor] = load(read_file(file))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DamagedCheckpointError(f"{file}: {error}") from None
    if bad := first_not_finite(tensors):
        group = file.name.partition(".")[0]
        raise DamagedCheckpointError(f"{file}: {group}/{bad} is not finite")
    return tensors


def _name(file: str, rank: int) -> str:
    """Return a rank's file name: ``env.safetensors`` for rank 0, ``env.1.safetensors`` for 1."""
    stem, _, suffix = file.partition(".")
    return f"{stem}.{rank}.{suffix}" if rank else file
