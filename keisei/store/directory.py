"""The run directory: ``run.toml``, ``keisei.db``, ``checkpoints/<step>/``, ``best``, ``lock``."""

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

from keisei.config import Settings
from keisei.store.checkpoints import (
    CHECKPOINTS,
    checkpoint_folders,
    checkpoint_name,
    remove_leftovers,
)
from keisei.store.files import read_file, replace_synced, sync_folder
from keisei.store.lock import Lock
from keisei.toml import to_toml

SETTINGS_FILE = "run.toml"
LOCK_FILE = "lock"
DATABASE_FILE = "keisei.db"
_CHECKSUM = re.compile(rb"# sha256: ([0-9a-f]{64})\n")
"""The last line of ``run.toml``, over all lines before it. Earlier versions wrote none."""


class RunError(ValueError):
    """A path that can't be used as a run. The message names it and says why."""


class DamagedRunError(RunError):
    """A run whose ``run.toml`` is not what was written. The message says what to do."""


class RunDirectory:
    """A run that this process writes to. Holds the run's lock until ``close``."""

    def __init__(self, path: Path, settings: Settings | None) -> None:
        """Use ``create`` or ``open``. ``settings`` are written if the run is new."""
        self.path = path.absolute()
        self.pinned: dict[str, set[int]] = {}
        """Steps whose checkpoints must stay, by who needs them; from any thread."""
        self._lock = Lock(path / LOCK_FILE)
        try:
            if settings is not None:
                _refuse_run(path)  # again: another process may have made one just now
                _write_settings(self.path, settings)
            self.settings = read_settings(self.path)
            (self.path / CHECKPOINTS).mkdir(exist_ok=True)
            sync_folder(self.path)
            remove_leftovers(self.path / CHECKPOINTS)
        except BaseException:
            self._lock.release()
            raise

    @classmethod
    def create(cls, settings: Settings, path: Path | None = None) -> Self:
        """A new run with these (resolved) settings, at ``path`` or in a new folder of ``run.root``.

        Raises RunError if there is a run at ``path`` or a name is no text, RunLockedError if one is
        being made there, OSError if the folder can't be made.
        """
        settings_text(settings)
        check_path(path or settings.run.root)
        if path is None:
            path = _new_folder(settings.run.root)
        path.mkdir(parents=True, exist_ok=True)
        _refuse_run(path)
        return cls(path, settings)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run at ``path``, to be continued. Raises RunError, RunLockedError."""
        check_path(path)
        check_is_run(path)
        return cls(path, None)

    @staticmethod
    def newest(root: Path) -> Path:
        """The run in ``root`` that was created last. Raises RunError if there is none."""
        runs = [file for file in root.glob(f"*/{SETTINGS_FILE}") if file.is_file()]
        if not runs:
            raise RunError(
                f"{root} holds no run: start one without --resume, or name it with --run"
            )
        return max(runs, key=lambda file: (file.stat().st_mtime_ns, file.parent.name)).parent

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def database(self) -> Path:
        """Where the run's ``Database`` is."""
        return self.path / DATABASE_FILE

    def checkpoints(self) -> list[Path]:
        """The checkpoints' folders, oldest first, damaged ones among them."""
        return checkpoint_folders(self.path / CHECKPOINTS)

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint of a step is, if there is one."""
        return self.path / CHECKPOINTS / checkpoint_name(step)

    @property
    def best(self) -> Path:
        """A link to the checkpoint of the strongest network so far, once there is one."""
        return self.path / "best"

    @property
    def best_checkpoint(self) -> Path | None:
        """What ``best`` names, if anything: of a copied run it may be a folder itself."""
        if not self.best.exists():
            return None
        return self.path / self.best.readlink() if self.best.is_symlink() else self.best

    @property
    def needed(self) -> set[int]:
        """Steps whose checkpoints stay, however old they are."""
        pinned = set().union(*self.pinned.copy().values())  # first: who lets go has made it best
        best = self.best_checkpoint
        return pinned | ({int(best.name)} if best and best.name.isdecimal() else set())

    def promote(self, step: int) -> None:
        """Let ``best`` name the checkpoint of a step. Raises OSError."""
        target = self.checkpoint(step)
        target.stat()
        new = self.path / ".best.new"
        new.unlink(missing_ok=True)
        new.symlink_to(target.relative_to(self.path))
        new.replace(self.best)
        sync_folder(self.path)

    def close(self) -> None:
        """Release the lock. May be called again."""
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
    """The settings a run was made with, from its ``run.toml`` alone (no environment, no defaults'
    changes since: every key is in the file). Raises RunError.
    """
    file = path / SETTINGS_FILE
    try:
        return Settings(**read_config(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise _damaged(file, f"{where}: {problem['msg']} (got {problem['input']!r})") from None


def trained_with(folder: Path) -> Settings:
    """The settings of the checkpoint's run; the defaults for one that was moved out of its run."""
    run = folder.absolute().parent.parent
    return read_settings(run) if (run / SETTINGS_FILE).exists() else Settings()


def read_config(path: Path) -> dict[str, Any]:
    """``run.toml`` as a tree, if it is whole. Raises RunError if it can't be read."""
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
    return tree


def _check_whole(file: Path, data: bytes, tree: dict[str, Any]) -> None:
    """Refuse settings of which some were lost: defaults in their place would train on silently.

    Without a checksum, which a person may have removed, the last key must be there. It has been
    ``log.level`` in all versions; ``Settings`` keeps it last.
    """
    lines = data.splitlines(keepends=True)
    if lines and (found := _CHECKSUM.fullmatch(lines[-1])):
        if _digest(lines[:-1]) != found[1].decode():
            raise _damaged(
                file, "its checksum differs; if you edited it, remove its last line, the checksum"
            )
    elif not isinstance(log := tree.get("log"), dict) or "level" not in log:
        raise _damaged(file, "its end is missing")


def _damaged(file: Path, why: str) -> DamagedRunError:
    return DamagedRunError(
        f"{file}: {why}: the run's settings are lost in part; put the file back from a copy,"
        f" or begin a new run from this one's weights with --init {file.parent}"
    )


def _digest(lines: list[bytes]) -> str:
    return hashlib.sha256(b"".join(lines)).hexdigest()


def check_is_run(path: Path) -> None:
    """Refuse a path that is no run. Raises RunError."""
    if not path.exists():
        raise RunError(f"{path}: no such file or folder")
    if not os.path.lexists(path / SETTINGS_FILE):
        raise RunError(f"{path} is not a run (it has no {SETTINGS_FILE})")


def check_path(path: Path) -> None:
    """Refuse a name that is no text: no row of the database and no answer could hold it.

    Raises RunError.
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        shown = ascii(str(path.absolute()))
        raise RunError(f"{shown}: not UTF-8: give the run's folder another name") from None


def _refuse_run(path: Path) -> None:
    if (path / SETTINGS_FILE).exists():
        raise RunError(f"{path} already holds a run: continue it with --resume, or name another")


def settings_text(settings: Settings) -> bytes:
    """What ``run.toml`` holds. Raises RunError for a name that is no text, as ``check_path`` does."""
    text = (
        "# The settings of this run, resolved once. On --resume they win over any others,\n"
        "# except the ones that may change (see keisei.store.MAY_CHANGE).\n"
        "# The last line is a checksum of the others: remove it if you must edit them.\n"
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
    name = time.strftime("%Y%m%d-%H%M%S")
    for number in count(1):
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise AssertionError("unreachable")
