"""Which checkpoints a rollback may go to."""

from collections.abc import Mapping
from typing import Any

from keisei.ppo.detectors import ERRORS, LOOKS_BACK
from keisei.store import Checkpoint, CheckpointError, RunDirectory, load_checkpoint


class GoodCheckpoints:
    """The newest checkpoint at which nothing was wrong, and the newest that has proven good.

    Wrong numbers are told at once. Trouble in what is learned is told late, from averages over
    ``LOOKS_BACK`` iterations, when the newest checkpoint may have it, too. So one checkpoint at a time
    is on trial, and has proven good if nothing is wrong so many iterations later. These are kept,
    however many checkpoints come after them.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._newest: int | None = None
        self._proven: int | None = None
        self._trial: tuple[int, int] | None = None
        """Iteration and step."""

    def note(self, step: int, state: Mapping[str, Any]) -> None:
        """Take account of the checkpoint of ``step``, saved with this state."""
        now = state["iteration"], step
        if not state["quiet"]:
            self._trial = None
        else:
            self._newest = step
            if self._trial is None:
                self._trial = now
            elif now[0] - self._trial[0] >= LOOKS_BACK:
                self._proven, self._trial = self._trial[1], now
        on_trial = self._trial and self._trial[1]
        kept = self._newest, self._proven, on_trial
        self._run.pinned["rollback"] = {step for step in kept if step is not None}

    def find(self, trouble: str) -> tuple[Checkpoint | None, list[CheckpointError]]:
        """Where to go back to for a detector's trouble; what was on trial led to it and is dropped.

        Also why checkpoints that come before it were refused: damaged, or not finite.
        """
        self._trial = None
        newest_first = self._run.checkpoints()[::-1]
        if trouble not in ERRORS:
            newest_first.sort(key=lambda path: int(path.name) != self._proven)  # it comes first
        refused = []
        for path in newest_first:
            try:
                checkpoint = load_checkpoint(path)
            except CheckpointError as error:
                refused.append(error)
            else:
                if checkpoint.state["quiet"]:
                    return checkpoint, refused
        return None, refused

    def state(self) -> dict[str, Any]:
        """What ``load_state`` continues from, ready for JSON."""
        return {"newest": self._newest, "proven": self._proven, "trial": self._trial}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self._newest, self._proven = state["newest"], state["proven"]
        self._trial = state["trial"] and tuple(state["trial"])
