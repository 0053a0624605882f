"""Decides how long to think about a move. All functions depend on their arguments alone.

Sources: the time management of YaneuraOu and Stockfish (a margin for delays, an aim and a limit,
more time with ponder), and of AlphaZero's successors (stop when the second move cannot catch up).
"""

from collections.abc import Callable
from dataclasses import dataclass

from keisei.usi.limits import Limits

GAME_PLIES = 140
"""Plies after which a game is usually over."""
LEAST_MOVES = 20
"""The rest of the time is always divided among at least so many own moves."""
STRETCH = 3.0
"""How many times the aim a move may take if the search is undecided."""
PONDER_BONUS = 1.25
"""With ponder a move may take longer, because the opponent's time is used, too."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The time for a move, in seconds."""

    aim: float
    """The search ends now if it has decided."""
    limit: float
    """The search ends now in any case."""
    early: bool = True
    """Whether the search may end before the aim."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is."""

    elapsed: float
    """Seconds since the clock began to run."""
    batch: float
    """Seconds that the next batch of positions may take."""
    lead: int
    """Visits by which the most visited move is ahead of the second."""
    pace: float
    """Visits a second."""


def budget(
    limits: Limits, *, black: bool, ply: int, delay: int, byoyomi_margin: int, ponder: bool
) -> Budget | None:
    """Return the time for a move; None if no clock limits it.

    Args:
        limits: the ``go`` command.
        black: whether black is to move.
        ply: number of moves made in the game.
        delay: milliseconds between the GUI's clock and ours.
        byoyomi_margin: milliseconds that are kept in addition when only byoyomi is left.
        ponder: whether the engine thinks in the opponent's time.
    """
    if limits.movetime is not None:
        time = _within(limits.movetime, delay)
        return Budget(time, time, early=False)
    if not limits.timed:
        return None
    left = (limits.btime if black else limits.wtime) or 0
    bonus = (limits.binc if black else limits.winc) or 0
    byoyomi = limits.byoyomi or 0
    # Some GUIs add the bonus before the move and do not count it in the time that is left.
    left = max(left, bonus)
    limit = _within(left + byoyomi, delay + (byoyomi_margin if byoyomi and not left else 0))
    moves = max((GAME_PLIES - ply) // 2, LEAST_MOVES)
    aim = (left / moves + bonus * (moves - 1) / moves + byoyomi) / 1000
    if ponder and left:
        aim *= PONDER_BONUS
    aim = min(aim, limit)
    return Budget(aim, min(max(STRETCH * aim, byoyomi / 1000), limit))


def _within(time: int, margin: int) -> float:
    """Return the seconds of ``time`` without the margin, but never less than a tenth of them."""
    return max(time - margin, time // 10) / 1000


def enough(budget: Budget, now: Progress, agreed: Callable[[], bool]) -> bool:
    """Return whether the search should end now.

    ``agreed`` says whether the most visited move is the best valued, too. It is called only when
    the answer matters.
    """
    if now.elapsed + now.batch >= budget.limit:
        return True
    if now.elapsed >= budget.aim:
        return agreed()
    return budget.early and now.lead > now.pace * (budget.aim - now.elapsed)
