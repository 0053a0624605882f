"""The compiled functions of the tree, on trees of a test's own making."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keisei
from keisei.search.tree import (
    DRAW,
    EDGE,
    LOSS,
    NODE,
    UNKNOWN,
    WIN,
    expand,
    keep_subtree,
    settle,
)
from keisei.shogi.kernels import GAME

Parents = list[int]


def grown(parents: Parents, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return nodes, edges and used counts of a tree; each inner node has a few unopened moves.

    Node ``i + 1`` is a child of node ``parents[i]``. Its edges are those of ``expand``.
    """
    size = len(parents) + 1
    nodes, edges = np.zeros((1, size), NODE), np.zeros((1, 12 * size), EDGE)
    used = np.array([[size, 0]])
    nodes["parent"][0] = [-1, *parents]
    for node in range(size):
        children = [i + 1 for i, parent in enumerate(parents) if parent == node]
        if not children:
            continue
        count = len(children) + int(random.integers(2))
        actions = np.arange(count)[None]
        priors = np.linspace(1, 0, count, dtype=np.float32)[None]
        nodes["waiting"][0, [*line_up(parents, node)]] += 1
        expand(
            np.zeros(1, np.int64), np.array([node]), actions, priors, np.zeros(1, np.float32),
            nodes, edges, used, 1.0,
        )  # fmt: skip
        first = nodes["first"][0, node]
        edges["child"][0, first : first + len(children)] = children
        nodes["opened"][0, node] = len(children)
    return nodes, edges, used


def line_up(parents: Parents, node: int) -> list[int]:
    """Return a node and its ancestors."""
    return [node, *(line_up(parents, parents[node - 1]) if node else [])]


def solved(nodes: np.ndarray, edges: np.ndarray, leaves: dict[int, tuple[int, int]]) -> list:
    """Return the result of every node, and the plies to it, by the definition."""
    found: list = [(UNKNOWN, 0)] * len(nodes[0])
    for node in reversed(range(len(nodes[0]))):
        first, count = int(nodes["first"][0, node]), int(nodes["count"][0, node])
        if not count:
            found[node] = leaves.get(node, (UNKNOWN, 0))
            continue
        children = [
            found[child] if child > 0 else (UNKNOWN, 0)
            for child in edges["child"][0, first : first + count].tolist()
        ]
        by_result = {
            result: [plies + 1 for known, plies in children if known == result]
            for result in (UNKNOWN, WIN, DRAW, LOSS)
        }
        if by_result[LOSS]:
            found[node] = WIN, min(by_result[LOSS])
        elif not by_result[UNKNOWN] and by_result[DRAW]:
            found[node] = DRAW, max(by_result[DRAW])
        elif not by_result[UNKNOWN]:
            found[node] = LOSS, max(by_result[WIN])
    return found


trees = st.integers(1, 40).flatmap(
    lambda size: st.tuples(*(st.integers(max(0, i - 6), i) for i in range(size)))
)


@settings(max_examples=300, deadline=None)
@given(trees, st.integers(0, 2**32), st.integers(1, 3))
def test_results_travel_up_in_whatever_order_they_are_found(
    parents: tuple[int, ...], seed: int, kinds: int
) -> None:
    random = np.random.default_rng(seed)
    nodes, edges, _ = grown([*parents], random)
    leaves = {
        node: (int(random.choice([LOSS, WIN, DRAW][:kinds])), int(random.integers(0, 9)))
        for node in range(1, len(parents) + 1)
        if nodes["count"][0, node] == 0 and random.random() < 0.9
    }
    order = random.permutation([*leaves]).astype(np.int64)
    for node in order:
        nodes["waiting"][0, line_up([*parents], int(node))] += 1
    before = nodes["visits"][0, 0]
    results = np.array([leaves[int(node)][0] for node in order], np.int64)
    plies = np.array([leaves[int(node)][1] for node in order], np.int64)
    over = np.where(results == WIN, plies == 0, True)
    settle(
        np.zeros(len(order), np.int64), order, over.astype(np.int64),
        np.array([{WIN: 1, DRAW: 0, LOSS: -1}[known] for known in results.tolist()], np.int64),
        plies, np.zeros(len(order)), nodes, edges,
    )  # fmt: skip
    found = solved(nodes, edges, leaves)
    assert [*zip(nodes["proven"][0].tolist(), nodes["plies"][0].tolist(), strict=True)] == found
    assert nodes["visits"][0, 0] == before + len(leaves)
    assert not nodes["waiting"].any()
    for node in range(len(nodes[0])):
        below = [leaf for leaf in leaves if node in line_up([*parents], leaf)]
        signs = [
            (-1) ** line_up([*parents], leaf).index(node) * {WIN: 1, LOSS: -1, DRAW: 0}[known]
            for leaf in below
            for known in [leaves[leaf][0]]
        ]
        assert nodes["total"][0, node] == sum(signs)


@settings(max_examples=200, deadline=None)
@given(trees, st.integers(0, 2**32))
def test_a_kept_subtree_has_the_same_shape_and_numbers(parents: tuple[int, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    nodes, edges, used = grown([*parents], random)
    games = np.zeros(nodes.shape, GAME)
    games["key"][0] = nodes["visits"][0] = np.arange(1, len(parents) + 2)
    root = int(random.integers(len(parents) + 1))
    before = describe(nodes, edges, games, root)
    keep_subtree(0, root, nodes, edges, used, games, np.zeros(len(parents) + 1, np.int32))
    assert describe(nodes, edges, games, 0) == before
    kept = int(used[0, 0])
    assert kept == sum(root in line_up([*parents], node) for node in range(len(parents) + 1))
    assert used[0, 1] == nodes["count"][0, :kept].sum()
    assert nodes["parent"][0, 0] == -1


def describe(nodes: np.ndarray, edges: np.ndarray, games: np.ndarray, node: int) -> tuple:
    """Return a node's numbers and moves, with those of its children, as nested tuples."""
    first, count = int(nodes["first"][0, node]), int(nodes["count"][0, node])
    moves = []
    for edge in edges[0, first : first + count]:
        child = int(edge["child"])
        if child >= 0:
            assert nodes["parent"][0, child] == node
        below = describe(nodes, edges, games, child) if child >= 0 else ()
        moves.append((int(edge["action"]), float(edge["prior"]), below))
    return int(nodes["visits"][0, node]), int(games["key"][0, node]), tuple(moves)


def test_moves_are_sorted_by_probability_and_equal_ones_by_action() -> None:
    nodes, edges = np.zeros((1, 1), NODE), np.zeros((1, 9), EDGE)
    nodes["parent"], used = -1, np.array([[1, 0]])
    actions = np.array([[7, -1, 30, 41, -1, 50]])
    priors = np.array([[0.2, 0.9, 0.5, 0.2, 0.9, np.nan]], np.float32)
    values = np.array([0.25], np.float32)
    expand(
        np.zeros(1, np.int64), np.zeros(1, np.int64), actions, priors, values, nodes, edges, used,
        0.5,
    )  # fmt: skip
    assert edges["action"][0, :4].tolist() == [30, 7, 41, 50]
    assert edges["prior"][0, :4].tolist() == pytest.approx([25 / 33, 4 / 33, 4 / 33, 0])
    assert (edges["child"][0, :4] == -1).all()
    assert (nodes["total"][0, 0], nodes["visits"][0, 0]) == (0.25, 1)


MOVES_AFTER_THE_FIRST = """
import numpy as np
from keisei.env import legal_lists
from keisei.search import Search, SearchOptions
from keisei.shogi import Position

search = Search(1, SearchOptions(simulations=2))
search.plant_position(0, Position())
while (leaves := search.request()) is not None:
    actions, counts = legal_lists(leaves.mask)
    search.answer(actions, np.ones(actions.shape, np.float32), np.zeros(1, np.float32))
print(counts[0])
"""
PAWN_MOVES = "spears = step(mine.pawn & free_v, UP)"
TWO_SQUARES = f"{PAWN_MOVES} | step(step(mine.pawn & free_v, UP), UP)"


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_changed_rule_changes_the_search_although_its_code_is_cached(tmp_path: Path) -> None:
    """Numba's cache must not give a search the rules of yesterday."""
    copy = tmp_path / "keisei"
    shutil.copytree(Path(keisei.__file__).parent, copy, ignore=shutil.ignore_patterns("__pyc*"))

    def moves() -> int:
        done = subprocess.run(
            [sys.executable, "-c", MOVES_AFTER_THE_FIRST],
            env=os.environ
            | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(done.stdout)

    assert moves() == 30
    assert moves() == 30  # from the cache
    rules = copy / "shogi" / "kernels.py"
    text = rules.read_text("utf-8")
    assert text.count(PAWN_MOVES) == 1
    rules.write_text(text.replace(PAWN_MOVES, TWO_SQUARES), "utf-8")
    assert moves() == 39
