"""The evaluations of a fake run: made-up results, complete within a few seconds."""

from typing import Any, Literal

import anyio
import numpy as np

from keisei.evaluation import score_interval
from keisei.evaluation.spec import EvaluationSpec
from keisei.runtime.evaluation_records import EvaluationRecord, EvaluationRecords

SECONDS = 0.2
"""Seconds between two changes of an evaluation."""


async def play(records: EvaluationRecords, record: EvaluationRecord, spec: EvaluationSpec) -> None:
    """Change the record every ``SECONDS`` seconds, until the evaluation ends or is cancelled."""
    ended = 0
    with record.scope as scope:
        while ended < spec.games:
            await anyio.sleep(SECONDS)
            ended = min(spec.games, ended + max(2, spec.games // 16))
            report(records, record, spec, ended, "running")
    report(records, record, spec, ended, "cancelled" if scope.cancelled_caught else "done")


def report(
    records: EvaluationRecords,
    record: EvaluationRecord,
    spec: EvaluationSpec,
    ended: int,
    state: Literal["queued", "running", "done", "cancelled"],
) -> None:
    """Set the record's state, and its score after ``ended`` games."""
    over = state in {"done", "cancelled"}
    records.change(record, state=state, **made_up_score(spec, ended, over=over))


def made_up_score(spec: EvaluationSpec, ended: int, *, over: bool) -> dict[str, Any]:
    """Return the fields of an evaluation after ``ended`` games. If ``over``, include a ``result``.

    The agent wins 90 % of the games against ``random``, and 60 % against any other opponent.
    """
    wins = round(ended * (0.9 if "random" in spec.opponents else 0.6))
    points = (np.arange(ended) < wins).astype(float)
    reasons = {"wins": {"checkmate": wins}, "losses": {"checkmate": ended - wins}, "draws": {}}
    counts = {"wins": wins, "losses": ended - wins, "draws": 0, "capped": 0}
    return {
        "progress": ended / spec.games,
        "score": wins / ended if ended else None,
        "interval": score_interval(points, np.arange(ended)) if ended else None,
        "result": {**counts, "games": ended, "by_reason": reasons} if over else None,
    }
