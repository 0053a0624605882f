"""What a search has proven agrees with an exhaustive search of the same positions."""

from collections import Counter

import numpy as np
import pytest
from brute_force import END, Exhaustive, small_position

from keisei.env import legal_lists
from keisei.search import Search, SearchOptions
from keisei.search.tree import DRAW, LOSS, UNKNOWN, WIN
from keisei.shogi import Position

WEIGHTS = np.random.default_rng(1).integers(1, 1000, 131)


def finish(search: Search) -> None:
    """Answer all requests with values and probabilities that depend only on the position."""
    while (leaves := search.request()) is not None:
        actions, _ = legal_lists(leaves.mask)
        number = leaves.observation.astype(np.int64) @ WEIGHTS
        priors = np.where(actions < 0, 0, (actions * 7919 + number[:, None]) % 101 + 50)
        priors = priors / priors.sum(1, keepdims=True)
        values = number % 201 / 100 - 1
        search.answer(actions, priors.astype(np.float32), values.astype(np.float32))


def check(search: Search, truth: Exhaustive) -> Counter[int]:
    """Compare every node of the tree with the exhaustive search; count the marks by result."""
    nodes, edges = search._nodes[0], search._edges[0]
    places, marks = {0: (0, 0)}, Counter[int]()
    for number in range(search.size(0)[1]):
        level, index = places.pop(number)
        node = nodes[number]
        first, opened = int(node["first"]), int(node["opened"])
        for edge in edges[first : first + opened]:
            child = truth.child(level, index, int(edge["action"]))
            places[int(edge["child"])] = level + 1, child
        proven, plies = int(node["proven"]), int(node["plies"])
        score = int(truth.levels[level].scores[index])
        if proven == WIN:
            assert END - plies <= score
        elif proven == LOSS:
            assert score <= plies - END
        elif proven == DRAW:
            assert score == 0
        marks[proven] += 1
    return marks


def prove(position: Position, seed: int, most: int) -> tuple[Counter[int], int, int]:
    """Search a position to its end; return the marks, the root's result, and the tree's size."""
    truth = Exhaustive(position, most, deepest=1 + seed % 6)
    size = sum(len(level.games) for level in truth.levels)
    tiny = 1 < size <= 150  # then the search must prove the whole tree
    options = SearchOptions(
        simulations=300 * size if tiny else 300,
        c_init=5.0 if tiny else 1.4,
        leaves=1 + seed % 7,
        mates=(0, 1, 3)[seed % 3],  # type: ignore[arg-type]
    )
    most_nodes = size if tiny else 300
    search = Search(1, options, max_ply=position.ply + truth.depth, nodes=most_nodes)
    search.plant_position(0, position)
    finish(search)
    marks = check(search, truth)
    if tiny:
        assert search.proven(0)[0] != UNKNOWN
    return marks, search.proven(0)[0], size


@pytest.mark.parametrize(
    ("number", "most"),
    [
        (500, 3_000),
        pytest.param(20_000, 3_000, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
    ],
    ids=["few", "many"],
)
def test_no_mark_is_wrong(number: int, most: int) -> None:
    random = np.random.default_rng(number)
    marks, roots = Counter[int](), Counter[int]()
    for seed in range(number):
        found, root, _ = prove(small_position(random), seed, most)
        marks += found
        roots[root] += 1
    print(f"marks: {marks}; roots: {roots}")
    assert min(roots[result] for result in (WIN, DRAW, LOSS, UNKNOWN)) > number // 100
    assert min(marks[result] for result in (WIN, DRAW, LOSS)) > number // 10
