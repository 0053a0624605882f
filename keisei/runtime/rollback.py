"""Returns training to an earlier checkpoint when learning has gone wrong."""

from collections.abc import Mapping
from typing import Any

from keisei.ppo.detectors import ERRORS, LOOKS_BACK, DivergedError
from keisei.ppo.learner import Learner
from keisei.ppo.ranks import Ranks
from keisei.runtime.emitter import Emitter
from keisei.runtime.follower import roll_back_others
from keisei.store import Checkpoint, CheckpointError, RunDirectory, load_checkpoint


class GoodCheckpoints:
    """Remembers the newest checkpoint without a known problem, and the newest good checkpoint.

    The detectors in ``ERRORS`` judge each iteration alone. The other detectors judge averages, in
    which a problem becomes visible up to ``LOOKS_BACK`` iterations after its start. By then the
    newest checkpoint may already be bad. Therefore one checkpoint at a time is on trial. This
    checkpoint counts as good if no problem is detected in the next ``LOOKS_BACK`` iterations. The
    remembered checkpoints and the checkpoint on trial are never pruned.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._newest: int | None = None
        self._proven: int | None = None
        self._trial: tuple[int, int] | None = None
        """Iteration and step of the checkpoint on trial."""

    def saved(self, step: int, state: Mapping[str, Any]) -> None:
        """Judge the checkpoint saved at ``step`` by ``state``, the learner's state at this step."""
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

    def find(self, problem: str) -> tuple[Checkpoint | None, list[CheckpointError]]:
        """Return the checkpoint to which training returns after a detector's ``problem``, or None.

        Also returns the errors of checkpoints that were refused. Ends the current trial,
        because the checkpoint on trial may have led to the problem.
        """
        self._trial = None
        newest_first = self._run.checkpoints()[::-1]
        if problem not in ERRORS:
            newest_first.sort(key=lambda path: int(path.name) != self._proven)  # proven first
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
        """Return the state for ``load_state``, ready for JSON."""
        return {"newest": self._newest, "proven": self._proven, "trial": self._trial}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``state`` returned."""
        self._newest, self._proven = state["newest"], state["proven"]
        self._trial = state["trial"] and tuple(state["trial"])


class Rollback:
    """Returns a learner to a good checkpoint, a limited number of times. Device thread only."""

    def __init__(self, run: RunDirectory, allowed: int, ranks: Ranks, emitter: Emitter) -> None:
        """``allowed``: maximum number of rollbacks in all processes of the run together."""
        self._good = GoodCheckpoints(run)
        self._allowed = allowed
        self._ranks = ranks
        self._emitter = emitter
        self._count = 0

    def saved(self, step: int, state: Mapping[str, Any]) -> None:
        """Judge a checkpoint that was just saved; see ``GoodCheckpoints.saved``."""
        self._good.saved(step, state)

    def roll_back(self, learner: Learner, problem: str) -> None:
        """Go back to a good checkpoint because of a detector's ``problem``.

        Raises DivergedError if all rollbacks are used up, or if no good checkpoint is left.
        """
        if self._count == self._allowed:
            raise DivergedError(
                f"{problem}: no rollback is left (detectors.rollbacks = {self._allowed})"
            )
        good, refused = self._good.find(problem)
        for error in refused:
            self._emitter.alert("rollback", "warning", f"refused: {error}")
        if good is None:
            raise DivergedError(f"{problem}: every checkpoint has a problem")
        roll_back_others(self._ranks, good)
        learner.roll_back(good.tensors, good.step)
        self._count += 1
        text = f"{problem}: training went back to the weights of step {good.step:,}"
        self._emitter.alert("rollback", "warning", text)

    def state(self) -> dict[str, Any]:
        """Return the state that is saved in checkpoints, ready for JSON."""
        return {"rollbacks": self._count, "good": self._good.state()}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Restore the number of rollbacks and the good checkpoints from a resumed checkpoint."""
        self._count = checkpoint.state["rollbacks"]
        if "good" in checkpoint.state:  # checkpoints of earlier versions lack this key
            self._good.load_state(checkpoint.state["good"])
        self._good.saved(checkpoint.step, checkpoint.state)
