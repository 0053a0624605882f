"""Reads the warnings and errors that a run's process adds to ``keisei.log``."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from keisei.events import Log
from keisei.log import ALSO_EVENTS
from keisei.store.files import json_object, open_file

MOST_BYTES = 1 << 20
"""Maximum number of bytes that one call of ``read`` reads."""


class LogTail:
    """Reads the new lines of a log file. The lines that exist at the start are not returned."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode: int | None = None
        self._offset = 0

    def read(self, run: str, step: int) -> list[Log]:
        """Return the new warnings and errors. Raises OSError.

        The events of the run are left out, because the database has them.
        """
        try:
            file = open_file(self._path)
        except FileNotFoundError:
            self._inode, self._offset = 0, 0
            return []
        with file:
            found = os.fstat(file.fileno())
            if self._inode is None:
                self._offset = found.st_size
            elif found.st_ino != self._inode or found.st_size < self._offset:  # a new file
                self._offset = 0
            self._inode = found.st_ino
            file.seek(self._offset)
            data = file.read(MOST_BYTES)
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete) or (len(data) if len(data) == MOST_BYTES else 0)
        lines = (_parse(line) for line in complete.splitlines())
        return [
            Log(run=run, step=step, time=time, name=name, level=level, message=message)
            for name, level, message, time in filter(None, lines)
        ]


def _parse(line: bytes) -> tuple[str, Any, str, float] | None:
    """Return the logger, level, message and time of a warning or error, else None."""
    try:
        found = json_object(line)
        name, level = str(found["logger"]), found["level"]
        if level not in {"warning", "error", "critical"} or name in ALSO_EVENTS:
            return None
        time = datetime.fromisoformat(found["timestamp"]).timestamp()
        return name, "warning" if level == "warning" else "error", str(found["event"]), time
    except (KeyError, TypeError, ValueError):  # not a line of ours
        return None
