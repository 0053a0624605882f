"""The phases of a run in another process, and random moments in these phases."""

import random
import time
from pathlib import Path

from forked import Forked

PHASES = ("open", "compile", "iteration", "save", "prune", "ended")
"""The phases of a run without evaluations. In ``ended``, the run closes its files."""
REPEATED = {"iteration", "save", "prune"}
LATEST = 0.02
"""Longest time, in seconds, from the beginning of the phase to the random moment."""

_MARK = """
import os, time
import keisei.store.checkpoints as checkpoints
from keisei.runtime.worker import Worker
marks, last = os.open({file!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT), None
def mark(phase):
    global last
    if phase != last:
        last = phase
        os.write(marks, phase.encode() + b" ")
beat, remove = Worker._beat, checkpoints.remove_checkpoint
def _beat(self, phase):
    mark(phase)
    beat(self, phase)
def remove_checkpoint(path):
    mark("prune")
    time.sleep(0.005)  # as on a slow disk, so that the phase lasts
    remove(path)
    time.sleep(0.005)
Worker._beat, checkpoints.remove_checkpoint = _beat, remove_checkpoint
mark("open")
"""


class Marks:
    """A file in which a run writes the name of each phase that it enters."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.patch = _MARK.format(file=str(file))
        """Patch for the run's process."""

    def clear(self) -> None:
        """Forget the phases of the last process."""
        self._file.write_text("")

    def entered(self) -> list[str]:
        """Return the phases that the process has entered, in their order."""
        return self._file.read_text().split()

    def wait(self, process: Forked, phase: str, chance: random.Random) -> None:
        """Wait until a random moment in or soon after a phase, or until the process ends."""
        entries = chance.randint(1, 4) if phase in REPEATED else 1
        process.until(lambda: self.entered().count(phase) >= entries or process.poll() is not None)
        time.sleep(LATEST * chance.random() ** 3)  # often at once, because some phases are short
