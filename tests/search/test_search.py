import numpy as np
import pytest
from slow_search import DRAW, LOSS, WIN, Node, SlowSearch, network

from keisei.env import legal_lists
from keisei.search import Search, SearchOptions, tree
from keisei.shogi import Position

NAMES = {tree.UNKNOWN: None, tree.WIN: WIN, tree.DRAW: DRAW, tree.LOSS: LOSS}


def finish(search: Search) -> int:
    """Answer all requests of a search; return the number of positions."""
    asked = 0
    while (leaves := search.request()) is not None:
        actions, _ = legal_lists(leaves.mask, multiple=32)
        priors = np.zeros(actions.shape, np.float32)
        values = np.zeros(len(actions), np.float32)
        for j, row in enumerate(actions):
            legal = [int(a) for a in row if a >= 0]
            priors[j, : len(legal)], values[j] = network(leaves.observation[j], legal)
        search.answer(actions, priors, values)
        asked += len(actions)
    return asked


def played(seed: int, plies: int) -> Position:
    """Return a position after random moves; a game that is over begins again."""
    random, position = np.random.default_rng(seed), Position()
    for _ in range(plies):
        if position.outcome() or position.mate():
            position = Position()
        position.push(str(random.choice(position.legal_moves())))
    return played(seed + 1000, plies) if position.outcome() else position


def compare(search: Search, slow: Node, path: tuple[int, ...] = ()) -> None:
    actions, visits = search.visits(0)
    assert actions.tolist() == slow.moves
    assert visits.tolist() == [
        slow.children[move].visits if move in slow.children else 0 for move in slow.moves
    ]
    proven, plies = search.proven(0)
    assert (NAMES[proven], plies) == (slow.proven, slow.plies if slow.proven else 0)
    for line in search.lines(0, len(actions)):
        child = slow.children.get(line.action)
        if child is not None and not child.proven:
            assert line.value == pytest.approx(-child.total / child.visits, abs=1e-9)


OPTIONS = (
    SearchOptions(simulations=60),
    SearchOptions(simulations=60, mates=0, leaves=4),
    SearchOptions(simulations=90, mates=3, leaves=3, c_init=0.8, urgency=0.2, root_urgency=0.3),
    SearchOptions(simulations=40, c_base=100.0, mates=1, leaves=8),
)


@pytest.mark.parametrize("seed", range(50))
def test_it_makes_the_same_visits_as_a_slow_search(seed: int) -> None:
    position = played(seed, 10 + 4 * seed)
    for options in OPTIONS:
        search, slow = Search(1, options), SlowSearch(position, options, 512, 256)
        search.plant_position(0, position, trained_max_ply=256)
        finish(search)
        slow.run()
        compare(search, slow.root)
