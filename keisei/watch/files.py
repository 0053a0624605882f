"""Looks for changes in the files of one run. All functions block."""

from dataclasses import dataclass, field
from pathlib import Path

from keisei.config import Settings
from keisei.events import Board, Log
from keisei.store.board import read_board
from keisei.store.changes import ChangeReader, Changes
from keisei.store.database import DatabaseError
from keisei.store.directory import RunError, check_is_run, read_settings
from keisei.store.layout import BOARD_FILE, DATABASE_FILE, LOCK_FILE, LOG_FILE, SETTINGS_FILE
from keisei.store.lock import HolderState, holder_state
from keisei.watch.log_tail import LogTail

Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a run's files has found."""

    problem: str = ""
    """Why the files can't be read; empty if they can."""
    exists: bool = True
    """Whether the folder is a run."""
    settings: Settings | None = None
    """The settings of the run, if they are new."""
    holder: HolderState = "unknown"
    """State of the process that writes the run."""
    locked: float = 0.0
    """Time at which that process acquired the run's lock."""
    changes: Changes = field(default_factory=Changes)
    board: Board | None = None
    """The newest board, if it is new."""
    log: list[Log] = field(default_factory=list)


class RunFiles:
    """The files of a run. Each call of ``look`` returns what has changed since the last call."""

    def __init__(self, path: Path) -> None:
        """``path``: the run directory; it need not exist yet."""
        self.path = path
        self._changes = ChangeReader(path)
        self._log = LogTail(path / LOG_FILE)
        self._settings: Signature = ()
        self._database: Signature = ()
        self._board: Signature = ()
        self._inode: int | None = None
        """Inode of the database that was read last."""

    def look(self, step: int) -> Look:
        """Look at the files once. Never raises an error because of the files.

        ``step``: step for the log lines, which contain no step.
        """
        try:
            check_is_run(self.path)
        except RunError as error:
            self._settings = self._database = self._board = ()
            return Look(
                problem=f"{error}; this page shows the run as soon as it exists", exists=False
            )
        try:
            return self._read(step)
        except (RunError, DatabaseError, OSError) as error:
            self._settings = self._database = ()
            return Look(problem=str(error))

    def _read(self, step: int) -> Look:
        # The lock first: what a process wrote before it released the lock is then found below.
        lock = self.path / LOCK_FILE
        holder = holder_state(lock)
        locked = lock.stat().st_mtime if lock.exists() else 0.0
        return Look(
            settings=self._read_settings(),
            holder=holder,
            locked=locked,
            changes=self._read_database(),
            board=self._read_board(),
            log=self._log.read(self.path.name, step),
        )

    def _read_settings(self) -> Settings | None:
        now = _signature(self.path / SETTINGS_FILE)
        if now == self._settings:
            return None
        found = read_settings(self.path)
        self._settings = now
        self._database = ()
        self._changes.restart()  # another run may have got this folder
        return found

    def _read_database(self) -> Changes:
        file = self.path / DATABASE_FILE
        now = _signature(file, file.with_name(f"{DATABASE_FILE}-wal"))
        if now == self._database:
            return Changes()
        inode = now[0][1] if now[0] else None
        if inode != self._inode:
            self._changes.restart()
        found = self._changes.read()
        # If more rows wait, the next call must read again, although the files have not changed.
        self._database = () if self._changes.behind else now
        self._inode = inode
        return found

    def _read_board(self) -> Board | None:
        now = _signature(self.path / BOARD_FILE)
        if now == self._board:
            return None
        self._board = now
        return read_board(self.path)


def _signature(*files: Path) -> Signature:
    """Return values that differ after each change of the files. Raises OSError."""
    found: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            stat = file.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
    return tuple(found)
