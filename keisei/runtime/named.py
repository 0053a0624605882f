"""Finds the checkpoint of each player that an evaluation names, such as ``best``."""

from pathlib import Path

from keisei.evaluation.network_options import split_options
from keisei.evaluation.spec import BEST, CURRENT, ENGINE, LOCAL, EvaluationSpec
from keisei.resources import player_folder
from keisei.store import RunDirectory, find_checkpoint
from keisei.store.checkpoints import WEIGHTS


class NamedCheckpoints:
    """Finds the checkpoints of players, and promotes a new ``best``. All methods block."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    def resolve(self, spec: EvaluationSpec, known: dict[str, str]) -> dict[str, str]:
        """Return checkpoint paths by name, for the players of ``spec`` that are not in ``known``.

        ``known`` has the checkpoint paths that an earlier process chose for this evaluation. Before
        the first promotion, ``random`` plays as ``best``. Raises CheckpointError, ResourceError.
        """
        found = {}
        names = {split_options(text)[0] for text in (*spec.agents, *spec.opponents)}
        for name in names - {CURRENT, *LOCAL} - known.keys():
            if name == BEST:
                found[name] = self._best()
            elif not name.startswith(ENGINE):
                found[name] = self.relative(find_checkpoint(player_folder(name), only=WEIGHTS)[0])
        return found

    def promote(self, players: dict[str, str]) -> str:
        """Make the checkpoint of ``current`` the run's best.

        Does nothing if another checkpoint has become the best since the evaluation began. Returns
        what happened, as a text that continues a sentence with the subject ``current``.
        """
        winner, loser = players[CURRENT], players[BEST]
        if self._best() not in (winner, loser):
            return "was accepted, but meanwhile another network became the run's best"
        try:
            self._run.promote(int(Path(winner).name))
        except OSError as error:
            return f"was accepted, but could not become the run's best: {error}"
        return "is the run's best now"

    def relative(self, folder: Path) -> str:
        """Return ``folder`` as text: relative if it is inside the run's directory, else absolute.

        A relative path stays valid when the run's directory is moved.
        """
        folder, run = folder.absolute(), self._run.path
        return str(folder.relative_to(run) if folder.is_relative_to(run) else folder)

    def absolute(self, name: str) -> str:
        """Make the relative path ``name`` absolute; return a local player's name unchanged."""
        return name if name in LOCAL else str(self._run.path / name)

    def _best(self) -> str:
        best = self._run.best_checkpoint
        return self.relative(best) if best else "random"
