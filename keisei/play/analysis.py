"""Analyses the moves of a game: a tree search for each position, all positions side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keisei.env import MOST_LEGAL
from keisei.play.thinking import HORIZON, LEAVES, moves_of, policy_of
from keisei.search import Leaves, Line, Search, SearchOptions
from keisei.search.tree import LOSS, WIN
from keisei.shogi import Position
from keisei.shogi.position import Rule
from keisei.shogi.solver import MateSearch

BATCH = 64
"""Number of positions that the network should get at a time, if the options allow it."""
MOST_NODES = 2_000_000
"""Most simulations of all positions together. They take about 2 GB of memory."""
SOLVER_NODES = 20_000
"""Most positions that the mate solver visits for one position of the game: some milliseconds."""
SHOWN = 5
"""Number of moves of a position that are reported."""
VERDICTS = {"blunder": 0.5, "mistake": 0.2, "dubious": 0.1, "inaccuracy": 0.05}
"""Smallest loss of win rate for each verdict. These are ShogiHome's verdicts and limits."""


class ForcedMate(NamedTuple):
    """A forced mate of the side to move."""

    plies: int
    line: tuple[str, ...]
    """The mating moves of both sides in USI."""


FindMate = Callable[[Position], ForcedMate | None]


def find_mate(position: Position) -> ForcedMate | None:
    """Return the mate that the mate solver finds within ``SOLVER_NODES`` positions, or None."""
    found = MateSearch(position, nodes=SOLVER_NODES, memory_mib=4).run()
    return ForcedMate(found.length, found.moves) if found.verdict == "mate" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A move, and what the search found for it."""

    move: str
    prior: float
    """The network's probability of the move."""
    visits: int
    value: float
    """Expected result after the move, P(win) - P(loss), for the side that makes it."""
    mate: int
    """See ``PositionReport.mate``."""
    line: tuple[str, ...]
    """The move and the best moves that follow, in USI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionReport:
    """What the search found in a position."""

    side: str
    """The side to move: ``black`` or ``white``."""
    value: float
    """Expected result, P(win) - P(loss), for the side to move."""
    mate: int = 0
    """Plies to a forced win of the side to move; negative: to its forced loss; 0: none is known."""
    line: tuple[str, ...] = ()
    """Best moves in USI. It is ``win`` alone if the side to move should declare its win, and empty
    if the game is over."""
    simulations: int = 0
    candidates: tuple[Candidate, ...] = ()
    """The search's best moves, the best move first."""
    end: str = ""
    """Why the game is over by the rules; empty if the game goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveReport:
    """A move of a game, compared with the best move that the search found."""

    ply: int
    """Number of the move, from 1."""
    move: str
    before: PositionReport
    """The position before the move."""
    after: PositionReport
    """The position after the move. Its value is the value for the other side."""
    missed_mate: int = 0
    """Plies of the forced mate that the move gave up; 0: the move gave up no mate."""

    @property
    def loss(self) -> float:
        """Loss of win rate, from 0 to 1. It is 0 for the best move of the search."""
        if self.before.line[:1] == (self.move,):
            return 0.0
        return max(0.0, (self.before.value + self.after.value) / 2)

    @property
    def verdict(self) -> str:
        """A word of ``VERDICTS``; empty if the move lost less than an inaccuracy loses."""
        return next((word for word, limit in VERDICTS.items() if self.loss >= limit), "")


class Analysis:
    """Searches the positions of a game. It has no network; use it as you use ``Search``::

    analysis = Analysis("startpos", ["7g7f", "3c3d"])
    while (leaves := analysis.request()) is not None:
        analysis.answer(*agent.assess(leaves.observation, leaves.mask))
    for report in analysis.moves(): ...
    """

    def __init__(
        self,
        start: str,
        moves: Sequence[str],
        *,
        first: int = 1,
        last: int | None = None,
        simulations: int = 400,
        trained_max_ply: int = 512,
        declaration: Rule = "27",
        find_mate: FindMate = find_mate,
    ) -> None:
        """Plant the positions.

        Args:
            start: SFEN of the start position, or ``startpos``.
            moves: the game's moves in USI.
            first: number of the first move that is analysed, from 1.
            last: number of the last move that is analysed; None: the last move of the game.
            simulations: number of simulations for each position.
            trained_max_ply: maximum ply of the network's training games.
            declaration: entering-king rule of the game.
            find_mate: function that finds a forced mate in a position.

        Raises:
            IllegalMoveError, SfenError: a move or the start position is wrong.
            ValueError: ``first``, ``last`` or ``simulations`` is out of range.
        """
        last = len(moves) if last is None else last
        check_range(len(moves), first, last, simulations)
        self._declaration, self._find_mate = declaration, find_mate
        self._first, self._moves = first, list(moves[first - 1 : last])
        self._positions = _positions(start, moves[:last])[first - 1 :]
        searched = [p for p in self._positions if p.outcome(declaration) is None]
        # A tree for each position in which the game goes on.
        self._trees = {id(position): t for t, position in enumerate(searched)}
        self._simulations = simulations
        leaves = max(1, min(LEAVES, BATCH // max(1, len(searched))))
        self._search = Search(
            len(searched),
            SearchOptions(simulations=simulations, leaves=leaves),
            max_ply=self._positions[-1].ply + HORIZON,
            declaration=declaration,
            nodes=simulations + leaves,
        )
        for t, position in enumerate(searched):
            self._search.plant_position(t, position, trained_max_ply=trained_max_ply)

    def request(self) -> Leaves | None:
        """Return positions for a network, or None when all searches are finished."""
        return self._search.request()

    def answer(
        self, actions: NDArray[np.int64], priors: NDArray[np.float32], values: NDArray[np.float32]
    ) -> None:
        """Give the network's answer for the positions of ``request``; see ``Search.answer``."""
        self._search.answer(actions, priors, values)

    def stop(self) -> None:
        """Begin no more simulations. Call it after the first ``answer`` at the earliest."""
        self._search.stop()

    @property
    def progress(self) -> float:
        """Finished share of the search, from 0 to 1."""
        trees = self._trees.values()
        return max((self._search.size(t)[0] for t in trees), default=0) / self._simulations

    def position(self) -> PositionReport:
        """Return the report on the position after the last analysed move."""
        return self._report(self._positions[-1])

    def moves(self) -> list[MoveReport]:
        """Return a report on each analysed move. Call this when ``request`` has returned None."""
        reports = [self._report(position) for position in self._positions]
        return [
            self._judge(
                MoveReport(ply=self._first + k, move=move, before=reports[k], after=reports[k + 1]),
                self._positions[k + 1],
            )
            for k, move in enumerate(self._moves)
        ]

    def _report(self, position: Position) -> PositionReport:
        """Return what the search and the solver of mates found in a position."""
        outcome = position.outcome(self._declaration)
        if outcome is not None:
            value = {None: 0.0, position.side: 1.0}.get(outcome.winner, -1.0)
            declares = outcome.reason == "declaration"
            line = ("win",) if declares else ()
            return PositionReport(
                side=position.side, value=value, line=line, end="" if declares else outcome.reason
            )
        t = self._trees[id(position)]
        lines = self._search.lines(t, MOST_LEGAL)
        policy = dict(policy_of(lines, self._search.options.temperature))
        # An unvisited move is a candidate only after a search that visited no move at all.
        visited = [line for line in lines[:SHOWN] if line.visits] or lines[:1]
        candidates = tuple(_candidate(line, policy[line.action], position) for line in visited)
        best = candidates[0]
        report = PositionReport(
            side=position.side,
            value=best.value,
            mate=best.mate,
            line=best.line,
            simulations=self._search.size(t)[0],
            candidates=candidates,
        )
        mate = self._find_mate(position)
        if mate is None or 0 < best.mate <= mate.plies:
            return report
        return replace(report, value=1.0, mate=mate.plies, line=mate.line)

    def _judge(self, report: MoveReport, after: Position) -> MoveReport:
        """Return the report with the mate that the move gave up, if it gave up one."""
        mate = report.before.mate
        if mate <= 0 or report.move == report.before.line[0] or report.after.value == -1:
            return report
        if self._still_mates(after):
            return report
        return replace(report, missed_mate=mate)

    def _still_mates(self, after: Position) -> bool:
        """Return whether the side that moved gives check and mates after every answer."""
        if not after.in_check:
            return False
        for answer in after.legal_moves():
            follower = after.copy()
            follower.push(answer)
            if self._find_mate(follower) is None:
                return False
        return True


def check_range(count: int, first: int, last: int | None, simulations: int) -> None:
    """Raise ValueError if the moves ``first`` to ``last`` of ``count`` moves cannot be analysed."""
    last = count if last is None else last
    if not 1 <= first <= max(count, 1):
        raise ValueError(f"first: must be from 1 to {max(count, 1)} (got {first})")
    if count and not first <= last <= count:
        raise ValueError(f"last: must be from {first} to {count} (got {last})")
    most = MOST_NODES // (last - first + 2)
    if not 1 <= simulations <= most:
        raise ValueError(
            f"simulations: must be from 1 to {most:,} for so many moves (got {simulations:,})"
        )


def _positions(start: str, moves: Sequence[str]) -> list[Position]:
    """Return the position before each move, and the position after the last move."""
    position = Position(start)
    found = [position.copy()]
    for move in moves:
        position.push(move)
        found.append(position.copy())
    return found


def _candidate(line: Line, prior: float, position: Position) -> Candidate:
    mate = {WIN: line.plies, LOSS: -line.plies}.get(line.proven, 0)
    return Candidate(
        move=position.usi(line.action),
        prior=prior,
        visits=line.visits,
        value=line.value,
        mate=mate,
        line=moves_of(line, position),
    )
