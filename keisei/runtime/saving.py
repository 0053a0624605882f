"""Saves the checkpoints of a run in progress, and reacts when a save fails."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from keisei.config import Settings
from keisei.errors import NotRunning
from keisei.events import State
from keisei.feed.stored import Stored
from keisei.play.mailbox import deliver
from keisei.ppo.detectors import DivergedError
from keisei.ppo.learner import Learner
from keisei.ppo.ranks import Ranks
from keisei.runtime.commands import SaveCheckpoint
from keisei.runtime.emitter import Emitter
from keisei.runtime.follower import collect_parts
from keisei.runtime.rollback import Rollback
from keisei.store import NotFiniteError, RunDirectory, save_checkpoint
from keisei.store.manifest import Files

ROWS_SECONDS = 1.0
"""Longest time, in seconds, that a save waits for the database. A full disk must not stop saves."""


class Saver:
    """Saves the checkpoints of a run between its iterations. Device thread only."""

    def __init__(
        self,
        run: RunDirectory,
        settings: Settings,
        ranks: Ranks,
        rollback: Rollback,
        emitter: Emitter,
        stored: Stored,
    ) -> None:
        self.saved_step = -1
        """Step of the newest checkpoint; -1 before the first checkpoint."""
        self._run, self._settings, self._ranks = run, settings, ranks
        self._rollback = rollback
        self._emitter = emitter
        self._stored = stored
        self._due = 0.0
        self._refused = 0
        """Number of consecutive saves that were refused because of NaN or infinity."""
        self._requests: list[SaveCheckpoint] = []

    @property
    def requested(self) -> bool:
        """Whether a command waits for a checkpoint."""
        return bool(self._requests)

    def request(self, command: SaveCheckpoint) -> None:
        """Accept a command; the command is answered when the next checkpoint has been saved."""
        self._requests.append(command)

    def due(self, step: int) -> bool:
        """Return whether it is time for a regular checkpoint."""
        return step > 0 and step != self.saved_step and time.monotonic() >= self._due

    def save_or_alert(self, learner: Learner, elapsed: float) -> None:
        """Save a checkpoint. If a file can't be written, send an alert and return.

        If the state contains NaN or infinity, react as ``detectors.nonfinite`` says. Raises
        DivergedError.
        """
        try:
            self._save(learner, elapsed, self._emitter.state)
        except OSError as error:
            self._emitter.alert("checkpoint_failed", "error", f"{type(error).__name__}: {error}")
            self._answer(error)
        except NotFiniteError as error:
            self._react(learner, error)

    def save_last(self, learner: Learner, elapsed: float) -> str:
        """Save the last checkpoint of the run. Return ``""``, or the reason for a refusal.

        Raises OSError.
        """
        try:
            self._save(learner, elapsed, "stopping")
        except NotFiniteError as error:
            self._alert_refusal(learner.step, error)
            return f"{error}: not saved; a resumed run continues from the previous checkpoint"
        return ""

    def close(self) -> None:
        """Refuse the requests that still wait, because the run has ended."""
        self._answer(NotRunning("the run ended before this command was done"))

    def _save(self, learner: Learner, elapsed: float, state: State) -> None:
        self._due = time.monotonic() + self._settings.run.checkpoint_seconds
        whole: Mapping[str, Any] = (
            learner.state() | {"elapsed_seconds": elapsed} | self._rollback.state()
        )
        finish = partial(self._finish_files, learner.iteration)
        path = save_checkpoint(self._run, learner.step, learner.tensors(), whole, finish)
        self.saved_step, self._refused = learner.step, 0
        self._rollback.saved(learner.step, whole)
        self._emitter.status("checkpoint", state, str(path))
        self._answer(path)

    def _finish_files(self, iteration: int, folder: Path) -> Files:
        """Wait for the files of the other ranks, and for the rows of the database.

        A run that is killed after this save begins again after ``iteration``. Without its rows in
        the database, the metrics and games would have a gap.
        """
        files = collect_parts(self._ranks, folder)
        self._stored.wait(iteration, ROWS_SECONDS)
        return files

    def _react(self, learner: Learner, error: NotFiniteError) -> None:
        """React to NaN or infinity in weights or Adam's moments, as ``detectors.nonfinite`` says.

        The loss does not show an infinite moment of Adam. With an alert alone, training would go on
        without checkpoints. Therefore ``nonfinite_stop`` consecutive refused saves end the run.
        """
        self._alert_refusal(learner.step, error)
        self._refused += 1
        detectors = self._settings.detectors
        if detectors.nonfinite == "rollback":
            self._rollback.roll_back(learner, "nonfinite")
        elif detectors.nonfinite == "stop":
            raise DivergedError(f"nonfinite: {error} (detectors.nonfinite = 'stop')")
        elif self._refused >= detectors.nonfinite_stop:
            raise DivergedError(f"{error}: {self._refused} consecutive checkpoints were refused")

    def _alert_refusal(self, step: int, error: NotFiniteError) -> None:
        """Answer the waiting commands with ``error``.

        Only the first of several consecutive refusals causes an alert.
        """
        if self._refused == 0:
            text = f"no checkpoint at step {step:,}: {error}"
            self._emitter.alert("checkpoint_failed", "error", text)
        self._answer(error)

    def _answer(self, answer: Path | Exception) -> None:
        deliver((command.finished, answer) for command in self._requests)
        self._requests = []
