"""Finds the checkpoint that each named player of an evaluation stands for, also ``best``."""

from pathlib import Path

from keisei.evaluation.spec import BEST, CURRENT, ENGINE, LOCAL, EvaluationSpec
from keisei.store import RunDirectory, find_checkpoint
from keisei.store.checkpoints import WEIGHTS


class NamedCheckpoints:
    """Finds checkpoints by the names of players, and promotes the run's ``best``. Methods block."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    def resolve(self, spec: EvaluationSpec, known: dict[str, str]) -> dict[str, str]:
        """Return the checkpoint of each run that plays, by name, without those that are ``known``.

        A resumed evaluation must go on with the same checkpoints. ``best`` is ``random`` before the
        first promotion. Raises CheckpointError.
        """
        found = {}
        for name in {*spec.agents, *spec.opponents} - {CURRENT, *LOCAL} - known.keys():
            if name == BEST:
                found[name] = self._best()
            elif not name.startswith(ENGINE):
                found[name] = self.relative(find_checkpoint(Path(name), only=WEIGHTS)[0])
        return found

    def promote(self, players: dict[str, str]) -> str:
        """Make the checkpoint of ``current`` the run's best if that of ``best`` still is.

        Returns what was done, as the end of a sentence.
        """
        winner, loser = players[CURRENT], players[BEST]
        if self._best() not in (winner, loser):
            return "was accepted, but another network has become the run's best meanwhile"
        try:
            self._run.promote(int(Path(winner).name))
        except OSError as error:
            return f"was accepted, but could not become the run's best: {error}"
        return "is the run's best now"

    def relative(self, folder: Path) -> str:
        """Return a path; one of the run's own is relative, so that the run can be moved."""
        folder, run = folder.absolute(), self._run.path
        return str(folder.relative_to(run) if folder.is_relative_to(run) else folder)

    def absolute(self, name: str) -> str:
        """Return the path that ``relative`` shortened; names of local players stay."""
        return name if name in LOCAL else str(self._run.path / name)

    def _best(self) -> str:
        best = self._run.best_checkpoint
        return self.relative(best) if best else "random"
