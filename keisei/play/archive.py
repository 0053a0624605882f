"""The games of an evaluation in a run's database, whoever plays them."""

import secrets
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from keisei.evaluation.spec import EvaluationSpec
from keisei.play.ratings import refit
from keisei.store import RunReader
from keisei.store.checkpoints import read_manifest
from keisei.store.matches import MatchGame, MatchTable


@dataclass(frozen=True, slots=True)
class Archive:
    """One evaluation in a run's database. All methods block and raise DatabaseError."""

    run: Path
    """The run's directory."""
    id: str
    """Id of the evaluation."""

    def games(self) -> list[MatchGame]:
        """Return the games that were kept, by number: an evaluation goes on after them."""
        with closing(MatchTable(self.run)) as table:
            return table.games(self.id)

    def add(self, games: Sequence[MatchGame]) -> None:
        """Keep games that have ended."""
        with closing(MatchTable(self.run)) as table:
            table.add(self.id, games)

    def rate(self) -> None:
        """Rate all players of the run again, from the games of all its evaluations."""
        refit(self.run)

    # ------------------------------------------------------------------ for the command line
    # A live run writes the state of its evaluations with its other events.
    @classmethod
    def begin(cls, run: Path, spec: EvaluationSpec) -> Self:
        """Begin an evaluation by the command line, or continue one that it broke off.

        Raises CheckpointError too.
        """
        unfinished = [
            row["id"]
            for row in RunReader(run).evaluations()
            if row.get("command") and row["state"] != "done" and _asks_for(row, spec)
        ]
        archive = cls(run, unfinished[0] if unfinished else secrets.token_hex(4))
        step = read_manifest(Path(spec.agents[0]))["step"]
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
        """Keep how the evaluation ended: its state and the other fields of its event."""
        with closing(MatchTable(self.run)) as table:
            table.update(self.id, state, fields)


def _asks_for(row: dict[str, Any], spec: EvaluationSpec) -> bool:
    """Return whether a kept evaluation is the same as ``spec``."""
    try:
        return EvaluationSpec.from_dict(row["spec"]) == spec
    except (TypeError, ValueError):  # one of another version
        return False
