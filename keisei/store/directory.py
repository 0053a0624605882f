"""A run's directory: its settings, paths and lock, and the link to its best checkpoint."""

import hashlib
import os
import re
import time
import tomllib
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from keisei import formats
from keisei.config import Settings
from keisei.settings_sources import warn_of_old_names, with_new_names
from keisei.store.files import read_file, replace_synced, sync_folder
from keisei.store.filesystem import check_file_system
from keisei.store.layout import (
    BEST,
    CHECKPOINTS,
    DATABASE_FILE,
    DELETED,
    LOCK_FILE,
    SETTINGS_FILE,
    TEMPORARY,
    best_checkpoint,
    best_steps,
    checkpoint_folders,
    checkpoint_name,
    pinned_steps,
    remove_leftovers,
)
from keisei.store.lock import Lock
from keisei.store.older_settings import complete
from keisei.store.older_system import refusal
from keisei.toml import to_toml

_CHECKSUM = re.compile(rb"# sha256: ([0-9a-f]{64})\n")
"""Pattern of the last line of ``run.toml``, which is a checksum of all lines before it.

Earlier versions of Keisei wrote no checksum.
"""

_FORMAT = re.compile(rb"# format: (\d{1,9})\n")
"""Pattern of the first line of ``run.toml``."""


class RunError(ValueError):
    """A path can't be used as a run. The message names the path and says why."""


class DamagedRunError(RunError):
    """A run's ``run.toml`` is damaged. The message says what the user can do."""


class RunDirectory:
    """The directory of a run that this process writes. The run is locked until ``close``.

    Use ``create`` or ``open`` to make an instance.
    """

    def __init__(self, path: Path, settings: Settings | None) -> None:
        """Acquire the run's lock. ``settings``: None for an existing run."""
        self.path = path.absolute()
        self.pinned: dict[str, set[int]] = {}
        """For each task, the steps of checkpoints that must stay. Any thread may write here."""
        self._lock = Lock(path / LOCK_FILE)
        try:
            if settings is not None:
                # Check again under the lock: another process may just have created a run here.
                _refuse_run(path)
                _write_settings(self.path, settings)
            else:
                warn_of_old_names(str(path / SETTINGS_FILE), _read_tree(path))
            self.settings = read_settings(self.path)
            (self.path / CHECKPOINTS).mkdir(exist_ok=True)
            sync_folder(self.path)
            remove_leftovers(self.path / CHECKPOINTS)
            for name in TEMPORARY:
                (self.path / name).unlink(missing_ok=True)
        except BaseException:
            self._lock.release()
            raise

    @classmethod
    def create(cls, settings: Settings, path: Path | None = None) -> Self:
        """Create a new run.

        Args:
            settings: the resolved settings.
            path: the run's folder; None means a new folder in ``run.root``, named after the time.

        Raises:
            RunError: ``path`` already is a run, or the path or a setting is not UTF-8.
            NetworkFileSystemError: the folder is on a network file system.
            RunLockedError: another process is creating a run in the same folder.
            OSError: the folder can't be created.
        """
        settings_text(settings)
        check_path(path or settings.run.root)
        check_file_system(path or settings.run.root)
        if path is None:
            path = _new_folder(settings.run.root)
        path.mkdir(parents=True, exist_ok=True)
        _refuse_run(path)
        return cls(path, settings)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the run at ``path`` to continue it.

        Raises RunError, RunLockedError, NetworkFileSystemError.
        """
        check_path(path)
        check_is_run(path)
        check_file_system(path)
        return cls(path, None)

    @staticmethod
    def newest(root: Path) -> tuple[Path, list[Path]]:
        """Find the newest run in ``root`` that has a checkpoint, valid or damaged.

        Returns the run, and the newer runs, which have no checkpoint. Raises RunError.
        """
        files = root.glob(f"*/{SETTINGS_FILE}")
        runs = [f for f in files if f.is_file() and not f.parent.name.startswith(DELETED)]
        runs.sort(key=lambda file: (file.stat().st_mtime_ns, file.parent.name), reverse=True)
        skipped: list[Path] = []
        for run in [file.parent for file in runs]:
            if checkpoint_folders(run / CHECKPOINTS):
                return run, skipped
            skipped.append(run)
        found = "no run with a checkpoint" if runs else "no run"
        raise RunError(
            f"{root} holds {found}: start a new run without --resume, or name a run with --run"
        )

    @property
    def id(self) -> str:
        """The run's id: the name of its folder."""
        return self.path.name

    @property
    def database(self) -> Path:
        """Path of the run's database file."""
        return self.path / DATABASE_FILE

    def checkpoints(self) -> list[Path]:
        """Return the folders of all valid and damaged checkpoints, sorted by step."""
        return checkpoint_folders(self.path / CHECKPOINTS)

    def checkpoint(self, step: int) -> Path:
        """Return the path of the checkpoint of a step. The checkpoint need not exist."""
        return self.path / CHECKPOINTS / checkpoint_name(step)

    @property
    def best(self) -> Path:
        """Path of the link to the strongest network's checkpoint. ``promote`` makes the link."""
        return self.path / BEST

    @property
    def best_checkpoint(self) -> Path | None:
        """Path of the best checkpoint, or None. In a copied run, ``best`` may be a folder."""
        return best_checkpoint(self.path)

    @property
    def needed(self) -> set[int]:
        """Steps of the checkpoints that must not be removed.

        These are the best checkpoint, and the checkpoints that a task or a user has pinned.
        """
        # Read the pins first, then the best checkpoint. A checkpoint becomes the best one before it
        # loses its pin. In the other order, the two reads could both miss this checkpoint.
        pinned = set().union(*self.pinned.copy().values())
        return pinned | pinned_steps(self.path / CHECKPOINTS) | best_steps(self.path)

    def promote(self, step: int) -> None:
        """Atomically make ``best`` a link to the checkpoint of a step. Raises OSError."""
        target = self.checkpoint(step)
        target.stat()  # raises FileNotFoundError if the checkpoint does not exist
        new = self.path / ".best.new"
        new.unlink(missing_ok=True)
        new.symlink_to(target.relative_to(self.path))
        new.replace(self.best)
        sync_folder(self.path)

    def close(self) -> None:
        """Release the lock. Further calls do nothing."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


def read_settings(path: Path) -> Settings:
    """Read the settings that a run was created with. Raises RunError.

    ``run.toml`` contains every key, so the environment and this version's defaults do
    not change the result.
    """
    file = path / SETTINGS_FILE
    try:
        return Settings(**read_config(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            why = f"no such setting: {where}; a newer Keisei has perhaps made the run"
            raise RunError(f"{file}: {why}") from None
        raise _damaged(file, f"{where}: {problem['msg']} (got {problem['input']!r})") from None


def read_config(path: Path) -> dict[str, Any]:
    """Read ``run.toml`` as nested dicts, as this version of Keisei would write the file.

    Old names of settings are replaced by new names. A setting that the run's version of Keisei did
    not know gets the value that describes what that version did. Raises RunError if the file can't
    be read or is incomplete.
    """
    tree = with_new_names(_read_tree(path))
    complete(tree)
    return tree


def _read_tree(path: Path) -> dict[str, Any]:
    file = path / SETTINGS_FILE
    try:
        data = read_file(file)
        tree = tomllib.loads(data.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise RunError(f"{file}: {error.strerror}") from None
    except OSError as error:
        raise _damaged(file, str(error.strerror)) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise _damaged(file, str(error)) from None
    _check_whole(file, data, tree)
    _check_format(file, data)
    return tree


def _check_format(file: Path, data: bytes) -> None:
    """Raise RunError if the first line of ``run.toml`` has a number that is too high."""
    found = _FORMAT.match(data)
    if found and (why := formats.too_new(file, int(found[1]), formats.SETTINGS)):
        raise RunError(why)


def _check_whole(file: Path, data: bytes, tree: dict[str, Any]) -> None:
    """Raise RunError if a part of ``run.toml`` is missing.

    Default settings must not replace the missing part.

    If a user removed the checksum, only the last key is checked. In all versions of Keisei the last
    key is ``log.level``, because this setting comes last in ``Settings``.
    """
    lines = data.splitlines(keepends=True)
    if lines and (found := _CHECKSUM.fullmatch(lines[-1])):
        if _digest(lines[:-1]) != found[1].decode():
            raise _damaged(
                file,
                "its last line, the checksum, is wrong (if you edited the file, remove this line)",
            )
    elif not isinstance(log := tree.get("log"), dict) or "level" not in log:
        raise _damaged(file, "its end is missing")


def _damaged(file: Path, why: str) -> DamagedRunError:
    """Return the error for a damaged ``run.toml``; its message says what the user can do."""
    return DamagedRunError(
        f"{file}: {why}: restore the file from a copy,"
        f" or begin a new run with the weights of this run: --init {file.parent}"
    )


def _digest(lines: list[bytes]) -> str:
    return hashlib.sha256(b"".join(lines)).hexdigest()


def check_is_run(path: Path) -> None:
    """Raise RunError if ``path`` is not a run."""
    if not path.exists():
        raise RunError(f"{path}: no such file or folder")
    if not os.path.lexists(path / SETTINGS_FILE):
        raise RunError(refusal(path) or f"{path} is not a run (it has no {SETTINGS_FILE})")


def check_path(path: Path) -> None:
    """Raise RunError if ``path`` is not UTF-8. The database and JSON can't store such a path."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        shown = ascii(str(path.absolute()))
        raise RunError(f"{shown}: not UTF-8: give the run's folder another name") from None


def _refuse_run(path: Path) -> None:
    """Raise RunError if ``path`` is already a run, also one of the older system."""
    if (path / SETTINGS_FILE).exists():
        raise RunError(
            f"{path} already holds a run: continue it with --resume, or name another folder"
        )
    if why := refusal(path / DATABASE_FILE):
        raise RunError(f"{why}; name another folder for the new run")


def settings_text(settings: Settings) -> bytes:
    """Return the contents of ``run.toml``. Raises RunError if a setting is not UTF-8."""
    text = (
        f"# format: {formats.SETTINGS}\n"
        "# The settings of this run. With --resume, these settings replace all other settings,\n"
        "# except the settings that may change (see keisei.store.MAY_CHANGE).\n"
        "# The last line is a checksum. If you edit this file, remove the last line.\n"
        + to_toml(settings.model_dump(mode="json"))
    )
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        line = text[: error.end].splitlines()[-1]
        raise RunError(f"settings: {line!a}: not UTF-8") from None
    return data + f"# sha256: {_digest([data])}\n".encode()


def _write_settings(path: Path, settings: Settings) -> None:
    replace_synced(path / SETTINGS_FILE, settings_text(settings))
    sync_folder(path.parent)


def _new_folder(root: Path) -> Path:
    """Make a folder in ``root``, named after the time. If the name exists, add a number to it."""
    name = time.strftime("%Y%m%d-%H%M%S")
    for number in count(1):
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise AssertionError("unreachable")
