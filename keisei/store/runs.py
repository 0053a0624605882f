"""The runs in a folder: find, describe, measure and delete them."""

import shutil
import stat
from pathlib import Path
from typing import Any

from keisei.hint import did_you_mean
from keisei.store.checkpoints import read_state
from keisei.store.database import DatabaseError
from keisei.store.directory import RunError, check_is_run
from keisei.store.files import sync_folder
from keisei.store.layout import CHECKPOINTS, DELETED, LOCK_FILE, SETTINGS_FILE, checkpoint_folders
from keisei.store.lock import holder_state, locked
from keisei.store.manifest import CheckpointError
from keisei.store.reader import RunReader

UNKNOWN = ("step", "started", "updated", "score", "opponent", "problem")
"""Keys of the result of ``describe_run``; an unknown value is None."""


def find_run(name: str, root: Path) -> Path:
    """Return the folder of the run that ``name`` names: a path, or a run's id in ``root``.

    Raises RunError.
    """
    for folder in (Path(name), root / name):
        if (folder / SETTINGS_FILE).exists():
            return folder
    if Path(name).exists():
        check_is_run(Path(name))  # raises RunError
    ids = [folder.name for folder in run_folders(root)]
    raise RunError(f"no run {name!r} in {root}{did_you_mean(name, ids)}")


def run_folders(root: Path) -> list[Path]:
    """Return the folders of the runs in ``root``, newest run first. Raises OSError."""
    if not root.is_dir():
        return []
    created = []
    for folder in root.iterdir():
        if folder.name.startswith(DELETED):
            continue
        try:
            created.append(((folder / SETTINGS_FILE).stat().st_mtime_ns, folder.name, folder))
        except OSError:  # not a run, or not readable
            continue
    return [folder for _, _, folder in sorted(created, reverse=True)]


def describe_run(folder: Path) -> dict[str, Any]:
    """Return the run's ``id``, ``state`` and ``problem``, and the result of ``summary``.

    ``problem`` says why a file of the run can't be read; it is None for a sound run. This function
    never raises for a damaged run.
    """
    found: dict[str, Any] = {"id": folder.name, "state": "unknown", **dict.fromkeys(UNKNOWN)}
    try:
        found["state"] = holder_state(folder / LOCK_FILE)
        reader = RunReader(folder)
        found |= reader.summary()
        reader.config()
    except (DatabaseError, RunError, OSError) as error:
        found["problem"] = str(error)
    return found


def measure_run(folder: Path) -> dict[str, Any]:
    """Return ``checkpoints`` (their number), ``bytes`` (on disk) and ``trained``, in seconds.

    ``trained`` is the time of training up to the newest readable checkpoint; None if there is none.
    """
    checkpoints = checkpoint_folders(folder / CHECKPOINTS)
    return {
        "checkpoints": len(checkpoints),
        "bytes": disk_use(folder),
        "trained": _trained(checkpoints),
    }


def disk_use(path: Path) -> int:
    """Return the number of bytes in a file, or in all files below a folder. A link has none."""
    if path.is_symlink():
        return 0
    total = 0
    for file in (path, *path.rglob("*")):
        try:
            state = file.lstat()
        except FileNotFoundError:  # a run in progress has just removed the file
            continue
        total += state.st_size if stat.S_ISREG(state.st_mode) else 0
    return total


def delete_run(folder: Path) -> None:
    """Delete a run's folder with everything in it.

    Raises RunError, RunLockedError (a process trains the run), OSError.
    """
    folder = folder.resolve()
    check_is_run(folder)
    for file in folder.rglob(SETTINGS_FILE):  # does not follow links
        if file.parent != folder:
            raise RunError(f"{folder} is not deleted, because it holds another run: {file.parent}")
    gone = folder.with_name(DELETED + folder.name)
    with locked(folder):
        # Rename first. Otherwise a crash during the removal would leave a damaged run.
        if gone.exists():
            shutil.rmtree(gone)
        folder.rename(gone)
        sync_folder(folder.parent)
    shutil.rmtree(gone)


def _trained(checkpoints: list[Path]) -> float | None:
    """Return the seconds of training that the newest readable checkpoint states."""
    for path in reversed(checkpoints):
        try:
            seconds = read_state(path).get("elapsed_seconds")
        except CheckpointError:
            continue
        if isinstance(seconds, int | float):
            return seconds
    return None
