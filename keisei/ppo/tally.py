"""Counts how the self-play games of the newest iterations ended."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.env import Reason, StepResult

WINDOW = 20
"""Number of newest iterations whose games are counted.

In one iteration, too few games end for reliable shares.
"""
_REASONS = len(Reason)
_BLACK, _WHITE, _PLIES = _REASONS, _REASONS + 1, _REASONS + 2
_CELLS = _REASONS + 3


class Tally:
    """Counts of ended games.

    Each iteration has one row. The row contains the number of ended games for each reason, the
    number of wins for each colour, and the number of plies.
    """

    def __init__(self) -> None:
        self._rows: deque[NDArray[np.int64]] = deque(maxlen=WINDOW)

    def begin(self) -> None:
        """Start the row of a new iteration."""
        self._rows.append(np.zeros(_CELLS, np.int64))

    def add(self, step: StepResult) -> None:
        """Count the games that ended in a step."""
        done = step.terminated | step.truncated
        if not done.any():
            return
        row = self._rows[-1]
        row[:_REASONS] += np.bincount(step.reason[done], minlength=_REASONS)
        row[_BLACK] += (step.winner[done] > 0).sum()
        row[_WHITE] += (step.winner[done] < 0).sum()
        row[_PLIES] += step.plies[done].sum(dtype=np.int64)

    def values(self) -> dict[str, float]:
        """Return the ``games/*`` metrics.

        Means and shares are NaN if no game ended in the iterations of the rows.
        """
        total = np.sum(self._rows, axis=0) if self._rows else np.zeros(_CELLS)
        ended = float(total[:_REASONS].sum())
        over = ended or float("nan")
        black, white = float(total[_BLACK]), float(total[_WHITE])
        shares = {
            "games/ended": ended,
            "games/new": float(self._rows[-1][:_REASONS].sum()) if self._rows else 0.0,
            "games/length": float(total[_PLIES]) / over,
            "games/decisive": (black + white) / over,
            "games/black_score": (black + (ended - black - white) / 2) / over,
            "games/black_wins": black,
            "games/white_wins": white,
        }
        for reason in Reason:
            if reason is not Reason.NONE:
                shares[_name(reason)] = float(total[reason]) / over
        return shares

    def state(self) -> list[list[int]]:
        """Return the rows as lists, from the oldest iteration to the newest."""
        return [row.tolist() for row in self._rows]

    def load_state(self, rows: list[Any]) -> None:
        """Restore the rows that ``state`` returned."""
        self._rows = deque((np.array(row, np.int64) for row in rows), maxlen=WINDOW)


def _name(reason: Reason) -> str:
    return "games/truncated" if reason is Reason.MAX_PLY else f"games/{reason.label}"
