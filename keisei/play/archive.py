"""The games of an evaluation in a run's database, for live runs and the command line."""

import secrets
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from keisei.evaluation.network_options import split_options
from keisei.evaluation.spec import EvaluationSpec
from keisei.play.ratings import refit
from keisei.store import RunReader
from keisei.store.manifest import read_manifest
from keisei.store.matches import MatchGame, MatchTable


@dataclass(frozen=True, slots=True)
class Archive:
    """One evaluation in a run's database. All methods block and can raise DatabaseError."""

    run: Path
    """Directory of the run."""
    id: str
    """Id of the evaluation."""

    def games(self) -> list[MatchGame]:
        """Return the stored games in the order of their numbers."""
        with closing(MatchTable(self.run)) as table:
            return table.games(self.id)

    def add(self, games: Sequence[MatchGame]) -> None:
        """Store games that have ended."""
        with closing(MatchTable(self.run)) as table:
            table.add(self.id, games)

    def rate(self) -> None:
        """Rate all players of the run from the games of all evaluations in the run's database."""
        refit(self.run)

    # ------------------------------------------------------------------ for the command line
    # A live run does not use `begin` and `end`: it stores its evaluations' states as events.
    @classmethod
    def begin(cls, run: Path, spec: EvaluationSpec) -> Self:
        """Continue the command line's unfinished evaluation with this ``spec``, or begin a new one.

        Also raises CheckpointError.
        """
        unfinished = [
            row["id"]
            for row in RunReader(run).evaluations()
            if row.get("command") and row["state"] != "done" and _asks_for(row, spec)
        ]
        archive = cls(run, unfinished[0] if unfinished else secrets.token_hex(4))
        step = read_manifest(Path(split_options(spec.agents[0])[0]))["step"]
        fields = {
            "spec": spec.to_dict(),
            "command": True,
            "strategy": spec.strategy,
            "opponent": ", ".join(spec.opponents) or spec.strategy,
            "games": spec.games,
            "measured": step,
        }
        with closing(MatchTable(run)) as table:
            table.begin(archive.id, step, fields)
        return archive

    def end(self, state: str, fields: dict[str, Any]) -> None:
        """Store the evaluation's last state, and other fields of the evaluation's event."""
        with closing(MatchTable(self.run)) as table:
            table.update(self.id, state, fields)


def _asks_for(row: dict[str, Any], spec: EvaluationSpec) -> bool:
    """Return whether a stored evaluation has the same settings as ``spec``."""
    try:
        return EvaluationSpec.from_dict(row["spec"]) == spec
    except (TypeError, ValueError):  # stored by a version with different fields
        return False
