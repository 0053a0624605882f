"""A search with a game's history avoids and seeks repetitions as the rules say."""

from dataclasses import dataclass

import numpy as np
import pytest

from keisei.env import legal_lists
from keisei.search import Line, Search, SearchOptions
from keisei.search.tree import DRAW, LOSS, UNKNOWN, WIN
from keisei.shogi import Position


@dataclass(frozen=True)
class Case:
    """A start position, and four moves that lead back to it: the twelfth move ends the game."""

    sfen: str
    cycle: tuple[str, ...]

    def after(self, plies: int) -> Position:
        """Return the game after ``plies`` moves of the cycle, repeated."""
        position = Position(self.sfen)
        for move in (self.cycle[k % 4] for k in range(plies)):
            assert position.outcome() is None
            position.push(move)
        return position

    def next(self, plies: int) -> str:
        return self.cycle[plies % 4]


KINGS = Case("4k4/9/9/4p4/9/4P4/9/9/4K4 b - 1", ("5i4i", "5a4a", "4i5i", "4a5a"))
BLACK_CHECKS = Case(  # white, who is in check, makes the fourth occurrence
    "9/9/9/9/R8/8k/9/9/4K4 b - 1", ("9e9f", "1f1e", "9f9e", "1e1f")
)
WHITE_CHECKS = Case("4k4/9/9/K8/8r/9/9/9/9 w - 1", ("1e1d", "9d9e", "1d1e", "9e9d"))
CHECK_REPEATS = Case(  # black's check makes the fourth occurrence
    "9/9/9/9/9/R7k/9/9/4K4 w - 1", ("1f1e", "9f9e", "1e1f", "9e9f")
)
CASES = {
    "kings": KINGS,
    "black checks": BLACK_CHECKS,
    "white checks": WHITE_CHECKS,
    "check repeats": CHECK_REPEATS,
}
GAMES = [
    pytest.param(case, plies, id=f"{name}, {plies} moves")
    for name, case in CASES.items()
    for plies in (3, 9, 10, 11)
]


def searched(position: Position, winner: str | None, simulations: int = 300) -> list[Line]:
    """Return the lines of a search whose network expects ``winner`` to win."""
    search = Search(1, SearchOptions(simulations=simulations, mates=0))
    search.plant_position(0, position)
    side = {"black": 0, "white": 1}
    while (leaves := search.request()) is not None:
        actions, counts = legal_lists(leaves.mask)
        priors = np.where(actions >= 0, 1 / counts[:, None], 0).astype(np.float32)
        values = np.zeros(len(actions), np.float32)
        if winner is not None:
            # The position's nodes are new nodes of the only tree, or the root.
            movers = search._games["side"][0, search._asked[1]]
            values[:] = np.where(movers == side[winner], 0.8, -0.8)
        search.answer(actions, priors, values)
    return search.lines(0, 600)


def worth(position: Position, plies: int, winner: str | None) -> float:
    """Return the value for the side to move if both sides look ``plies`` moves ahead."""
    outcome = position.outcome()
    if outcome is not None:
        return {position.side: 1.0, None: 0.0}.get(outcome.winner, -1.0)
    if not plies:
        return 0.8 if winner == position.side else -0.8
    return max(-worth(after(position, move), plies - 1, winner) for move in position.legal_moves())


def after(position: Position, move: str) -> Position:
    follower = position.copy()
    follower.push(move)
    return follower


@pytest.mark.parametrize(("case", "plies"), GAMES)
def test_the_move_that_repeats_is_proven_as_the_rules_say(case: Case, plies: int) -> None:
    position = case.after(plies)
    moves = {position.usi(line.action): line for line in searched(position, None, 2000)}
    for move, line in moves.items():
        certain = {
            -worth(after(position, move), 2, winner) for winner in ("black", "white")
        }  # equal only if the rules alone decide
        if len(certain) == 1 and line.visits:
            assert line.value == certain.pop(), move
            assert line.proven != UNKNOWN
    line = moves[case.next(plies)]
    if plies == 11:
        expected = {"kings": DRAW, "black checks": WIN, "white checks": WIN, "check repeats": LOSS}
        name = next(name for name, known in CASES.items() if known is case)
        assert (line.proven, line.plies) == (expected[name], 1)


@pytest.mark.parametrize("winner", ["black", "white"])
@pytest.mark.parametrize(("case", "plies"), GAMES)
def test_repetitions_are_sought_and_avoided_as_brute_force_says(
    case: Case, plies: int, winner: str
) -> None:
    position = case.after(plies)
    values = {move: -worth(after(position, move), 2, winner) for move in position.legal_moves()}
    best = [move for move, value in values.items() if value == max(values.values())]
    chosen = searched(position, winner)[0]
    assert position.usi(chosen.action) in best
    if plies == 11:
        assert (case.next(plies) in best) == (len(best) == 1)


def test_a_search_without_the_history_does_not_see_the_repetition() -> None:
    position = KINGS.after(11)
    forgetful = Position(position.sfen())
    for known, proven in ((position, DRAW), (forgetful, UNKNOWN)):
        lines = {known.usi(line.action): line for line in searched(known, None)}
        assert lines[KINGS.next(11)].proven == proven
