"""The file with a run's W&B id and a record of the rows that the W&B run already has."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from keisei import formats
from keisei.sinks.wandb_rows import Row

MEMORY_FILE = "wandb.json"


class Memory:
    """The record of the rows that the W&B run already has.

    A resumed run uses the same file. The run repeats the steps after its checkpoint, but W&B can't
    remove the earlier rows of these steps. Therefore the repeated steps are not logged again. The
    checkpoint can't contain this record, because the W&B run has rows that are newer than the
    checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run's folder.

        Raises OSError, and ValueError if the file is damaged or its format is too new.
        """
        self._file = folder / MEMORY_FILE
        known = self._read()
        self.id: str = known.get("id") or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
        """Id of the W&B run. The agent of a sweep chooses the id of a new run."""
        self._step: int = known.get("step", -1)
        self._evaluations: list[str] = known.get("evaluations", [])
        self._before = self._step
        """Newest step that earlier processes have logged."""
        self._write()

    def is_new(self, row: Row) -> bool:
        """Return whether the W&B run does not have the row yet."""
        if row.evaluation:
            return row.step >= self._before and row.evaluation not in self._evaluations
        return row.step > self._step

    def is_new_evaluation(self, id: str) -> bool:
        """Return whether the W&B run does not have the evaluation with this id yet."""
        return id not in self._evaluations

    def remember(self, row: Row) -> None:
        """Add a row. Call this method before the row is logged, so that no row is logged twice."""
        if row.evaluation:
            self._evaluations.append(row.evaluation)
        else:
            self._step = row.step
        self._write()

    def _read(self) -> dict[str, Any]:
        try:
            known: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ValueError(f"{self._file}: {error}: remove the file for a new W&B run") from None
        if why := formats.too_new(self._file, known.get("format"), formats.WANDB):
            raise ValueError(why)
        return known

    def _write(self) -> None:
        known = {
            "format": formats.WANDB,
            "id": self.id,
            "step": self._step,
            "evaluations": self._evaluations,
        }
        new = self._file.with_name(f".{MEMORY_FILE}.new")
        new.write_text(json.dumps(known), encoding="utf-8")
        new.replace(self._file)
