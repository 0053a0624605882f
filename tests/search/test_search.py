"""The class Search makes the visits of a slow search, keeps subtrees, ends, and stays sound."""

from typing import Any

import numpy as np
import pytest
from brute_force import small_position
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_search import DRAW, LOSS, WIN, Node, SlowSearch, network

from keisei.env import legal_lists
from keisei.env.observe import PLY_COLUMN
from keisei.search import Leaves, Search, SearchOptions, tree
from keisei.shogi import Position

NAMES = {tree.UNKNOWN: None, tree.WIN: WIN, tree.DRAW: DRAW, tree.LOSS: LOSS}


def answer(search: Search, leaves: Leaves) -> None:
    """Give the answers that the network of the slow search would give."""
    actions, _ = legal_lists(leaves.mask, multiple=32)
    priors = np.zeros(actions.shape, np.float32)
    values = np.zeros(len(actions), np.float32)
    for j, row in enumerate(actions):
        legal = [int(a) for a in row if a >= 0]
        priors[j, : len(legal)], values[j] = network(leaves.observation[j], legal)
    search.answer(actions, priors, values)


def finish(search: Search) -> None:
    """Answer all requests of a search."""
    while (leaves := search.request()) is not None:
        answer(search, leaves)


def played(seed: int, plies: int) -> Position:
    """Return a position after random moves; a game that is over begins again."""
    random, position = np.random.default_rng(seed), Position()
    for _ in range(plies):
        if position.outcome() or position.mate():
            position = Position()
        position.push(str(random.choice(position.legal_moves())))
    return played(seed + 1000, plies) if position.outcome() else position


def compare(search: Search, slow: SlowSearch, t: int = 0) -> None:
    """Compare all nodes of a tree with those of the slow search, and what is told of the root."""
    compare_nodes(search, t, 0, slow.root)
    lines = search.lines(t, 600)
    assert sorted(line.action for line in lines) == sorted(slow.root.moves)
    for line in lines:
        child = slow.root.children.get(line.action)
        if child is not None and not child.proven:
            assert line.value == pytest.approx(-child.total / child.visits, abs=1e-9)
        if child is not None:
            assert line.visits == child.visits
    assert best_first(lines)


def compare_nodes(search: Search, t: int, number: int, slow: Node) -> None:
    node = search._nodes[t, number]
    assert (NAMES[int(node["proven"])], int(node["plies"])) == (slow.proven, slow.plies)
    assert (int(node["visits"]), int(node["waiting"])) == (slow.visits, slow.waiting)
    assert float(node["total"]) == pytest.approx(slow.total, abs=1e-9)
    edges = search._children(t, number)
    assert edges["action"].tolist() == slow.moves
    opened = [int(edge["action"]) for edge in edges if edge["child"] >= 0]
    assert sorted(opened) == sorted(slow.children)
    for edge in edges:
        if edge["child"] >= 0:
            compare_nodes(search, t, int(edge["child"]), slow.children[int(edge["action"])])


def best_first(lines: list[Any]) -> bool:
    """Whether fast wins come first, then moves with many visits, then slow losses."""
    ranks = {tree.WIN: 0, tree.LOSS: 2}
    keys = [
        (rank := ranks.get(line.proven, 1), (line.plies, -line.visits, -line.plies)[rank])
        for line in lines
    ]
    return keys == sorted(keys)


OPTIONS = (
    SearchOptions(simulations=60),
    SearchOptions(simulations=60, mates=0, leaves=4, temperature=2.5),
    SearchOptions(simulations=90, mates=3, leaves=3, c_init=0.8, urgency=0.2, root_urgency=0.3),
    SearchOptions(simulations=40, c_base=100.0, root_urgency=-100.0, leaves=8),
)
NIGHTLY = pytest.param(range(6, 200), marks=[pytest.mark.nightly, pytest.mark.timeout(1200)])


@pytest.mark.timeout(240)  # the first test may compile the search
@pytest.mark.parametrize("seeds", [range(6), NIGHTLY], ids=["few", "many"])
def test_it_makes_the_same_visits_as_a_slow_search(seeds: range) -> None:
    for seed in seeds:
        position = played(seed, 10 + 4 * seed % 250)
        for options in OPTIONS:
            search, slow = Search(1, options), SlowSearch(position, options)
            search.plant_position(0, position, trained_max_ply=256)
            finish(search)
            slow.run()
            compare(search, slow)


@pytest.mark.parametrize("seeds", [range(60), NIGHTLY], ids=["few", "many"])
def test_it_makes_the_same_visits_near_mates_repetitions_and_the_last_ply(seeds: range) -> None:
    proven = dict.fromkeys(NAMES.values(), 0)
    for seed in seeds:
        position = small_position(np.random.default_rng(seed))
        options, rule = OPTIONS[seed % 4], ("27", "24", "none")[seed % 3]
        end = position.ply + 1 + seed % 5
        draw = (0.0, 0.4, -1.0)[seed // 3 % 3]
        search = Search(1, options, max_ply=end, declaration=rule, draw=draw)
        slow = SlowSearch(position, options, max_ply=end, declaration=rule, draw=draw)
        search.plant_position(0, position, trained_max_ply=256)
        finish(search)
        slow.run()
        compare(search, slow)
        proven[slow.root.proven] += 1
    assert min(proven.values()) > 0, proven


@pytest.mark.parametrize("rule", ["27", "24", "none"])
def test_it_makes_the_same_visits_where_declarations_are_near(rule: Any) -> None:
    # After most moves of white, black has 31 points.
    position = Position("4K4/PPPPPPPPP/RB7/9/9/9/9/9/4k4 w R4G3P 1")
    options = SearchOptions(simulations=40, mates=0)
    search = Search(1, options, declaration=rule)
    slow = SlowSearch(position, options, declaration=rule)
    search.plant_position(0, position, trained_max_ply=256)
    finish(search)
    slow.run()
    compare(search, slow)
    won = [child for child in slow.root.children.values() if child.proven == WIN]
    assert bool(won) == (rule != "none")


def test_many_trees_at_once_make_the_visits_of_each_alone() -> None:
    positions = [played(seed, 30 * seed) for seed in range(6)]
    options = SearchOptions(simulations=80, leaves=3)
    together = Search(len(positions), options)
    for t, position in enumerate(positions):
        together.plant_position(t, position, simulations=20 + 15 * t, trained_max_ply=256)
    finish(together)
    for t, position in enumerate(positions):
        alone = Search(1, options)
        alone.plant_position(0, position, simulations=20 + 15 * t, trained_max_ply=256)
        finish(alone)
        assert alone.lines(0, 600) == together.lines(t, 600)
        assert alone.size(0) == together.size(t)


# --- the subtree that is kept ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(16))
def test_the_subtree_of_the_moves_played_is_kept_as_it_was(seed: int) -> None:
    position = small_position(np.random.default_rng(seed)) if seed % 2 else played(seed, 60)
    options = SearchOptions(simulations=150, leaves=1 + 3 * (seed % 2), mates=seed % 2)
    search, slow = Search(1, options, nodes=700), SlowSearch(position, options)
    search.plant_position(0, position, trained_max_ply=256)
    finish(search)
    slow.run()
    for moves in (2, 1, 0):
        line = search.lines(0)[0].moves[:moves]
        for move in line:
            position.play(move)
        if position.outcome():
            return
        slow.keep(*line)
        search.plant_position(0, position, trained_max_ply=256)
        compare(search, slow)
        finish(search)
        slow.run()
        compare(search, slow)


def favouring(search: Search, position: Position, *line: str, weak: float = 0.001) -> None:
    """Search with a network that expects the moves of ``line``, and gives others little weight."""
    expected = set()
    follower = position.copy()
    for move in line:
        expected.add(follower.action(move))
        follower.push(move)
    search.plant_position(0, position)
    while (leaves := search.request()) is not None:
        actions, _ = legal_lists(leaves.mask)
        priors = np.where(np.isin(actions, [*expected]), 0.9, weak).astype(np.float32)
        search.answer(actions, priors, np.zeros(len(actions), np.float32))


def after(position: Position, *moves: str) -> Position:
    follower = position.copy()
    for move in moves:
        follower.push(move)
    return follower


OPEN_BISHOPS = after(Position(), "7g7f", "3c3d")


def test_the_same_position_after_other_moves_is_not_mistaken_for_a_known_one() -> None:
    search = Search(1, SearchOptions(simulations=60))
    favouring(search, OPEN_BISHOPS, "8h2b+", "3a2b")
    known, other = (after(OPEN_BISHOPS, f"8h2b{sign}", "3a2b") for sign in ("+", ""))
    assert known.sfen() == other.sfen()
    search.plant_position(0, other)
    assert search.size(0) == (0, 1)
    favouring(search, OPEN_BISHOPS, "8h2b+", "3a2b")
    search.plant_position(0, known)
    assert search.size(0)[0] > 5


@pytest.mark.parametrize(
    "moves",
    [
        ("2g2f", "3c3d", "7g7f"),  # the root was reached by other moves
        ("7g7f", "3c3d", "2g2f", "8c8d", "2f2e", "8d8e"),  # too far from the root
        ("7g7f", "3c3d"),  # before the root
        ("5g5f",),
    ],
)
def test_another_game_gets_a_new_tree(moves: tuple[str, ...]) -> None:
    search = Search(1, SearchOptions(simulations=60))
    favouring(search, after(OPEN_BISHOPS, "2g2f"), "8c8d", "2f2e", "8d8e")
    assert search.size(0)[1] > 20
    search.plant_position(0, after(Position(), *moves))
    assert search.size(0) == (0, 1)


def test_a_proven_position_without_known_moves_is_searched_when_it_is_reached() -> None:
    position = Position("k8/9/PPP6/K8/9/9/9/9/9 w G 1")
    search = Search(1, SearchOptions(simulations=1000))
    search.plant_position(0, position)
    finish(search)
    assert search.proven(0)[0] == tree.LOSS
    position.play(search.lines(0)[0].action)
    search.plant_position(0, position)
    assert search.proven(0) == (tree.UNKNOWN, 0)
    finish(search)
    assert search.lines(0)[0].proven == tree.WIN


# --- the move that is chosen ----------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "power"), [(1.0, 1), (0.5, 2)])
def test_moves_are_sampled_by_their_visits(temperature: float, power: int) -> None:
    search = Search(1, SearchOptions(simulations=200))
    search.plant_position(0, Position())
    finish(search)
    lines = [line for line in search.lines(0, 600) if line.visits]
    weights = [line.visits**power for line in lines]
    for k, line in enumerate(lines):
        for inside in (0.0, 0.5, 0.99):  # an interval begins with the move that it belongs to
            draw = (sum(weights[:k]) + inside * weights[k]) / sum(weights) + 1e-12
            chosen = search.choose(0, greedy=False, temperature=temperature, draw=draw)
            assert chosen == (line.action, line.value)
    assert search.choose(0, greedy=True, temperature=1.0, draw=0.99)[0] == lines[0].action


def test_a_proven_win_is_chosen_even_if_it_was_visited_less() -> None:
    position = Position("k8/2P6/1P7/9/9/9/9/9/8K b G 1")
    search = Search(1, SearchOptions(simulations=2000, mates=0))
    favouring(search, position, "1i2i", "9a8a", weak=0.02)
    chosen = search.choose(0, greedy=False, temperature=1.0, draw=0.99)
    assert (position.usi(chosen[0]), chosen[1]) == ("G*8b", 1.0)
    assert (search.value(0), search.proven(0)) == (1.0, (tree.WIN, 1))
    assert search.lines(0, 2)[1].visits > search.lines(0)[0].visits == 1


def test_a_proven_loss_is_never_sampled() -> None:
    tried = 0
    for seed in range(60):
        search = Search(1, SearchOptions(simulations=100))
        search.plant_position(0, small_position(np.random.default_rng(seed)))
        finish(search)
        lines = search.lines(0, 600)
        lost = {line.action for line in lines if line.proven == tree.LOSS and line.visits}
        if not lost or lines[0].proven in (tree.WIN, tree.LOSS):
            continue
        tried += 1
        draws = [k / 50 for k in range(50)]
        chosen = {search.choose(0, greedy=False, temperature=9.0, draw=d)[0] for d in draws}
        assert not lost & chosen
    assert tried > 2


# --- it ends, and whatever happens its moves are legal --------------------------------------------


def check_tree(search: Search, position: Position, t: int = 0) -> None:
    """Check that a tree is sound and that all lines are legal moves."""
    nodes, edges = search._nodes[t], search._edges[t]
    used_nodes, used_edges = search._used[t].tolist()
    assert used_nodes <= len(nodes)
    assert used_edges <= len(edges)
    assert nodes["count"][:used_nodes].sum() == used_edges
    assert not nodes["waiting"][:used_nodes].any()
    for number in range(used_nodes):
        children = search._children(t, number)["child"]
        opened = int(nodes["opened"][number])
        assert (children[:opened] > number).all()
        assert (children[opened:] < 0).all()
        assert (nodes["parent"][children[:opened]] == number).all()
    for line in search.lines(t, 600):
        follower = position.copy()
        for move in line.moves:
            follower.play(move)
    legal = [position.action(move) for move in position.legal_moves()]
    assert search.choose(t, greedy=True, temperature=1.0, draw=0.0)[0] in legal
    assert search.choose(t, greedy=False, temperature=1.0, draw=0.999)[0] in legal


MANY_DROPS = "4k4/9/9/9/9/9/9/9/4K4 b RBGSNLPrbgsnlp 1"


@pytest.mark.parametrize(("sfen", "nodes"), [("startpos", 25), (MANY_DROPS, 25), (MANY_DROPS, 8)])
def test_a_full_tree_ends_the_search(sfen: str, nodes: int) -> None:
    position = Position(sfen)
    search = Search(1, SearchOptions(simulations=500, leaves=4, mates=0), nodes=nodes)
    for _ in range(4):
        search.plant_position(0, position)
        finish(search)
        check_tree(search, position)
        assert search.size(0)[1] <= nodes
        position.play(search.lines(0)[0].action)
        position.push(position.legal_moves()[0])


def test_a_full_tree_does_not_stop_the_others() -> None:
    search = Search(2, SearchOptions(simulations=60, mates=0), nodes=62)
    positions = Position(MANY_DROPS), Position()
    for t, position in enumerate(positions):
        search.plant_position(t, position)
    finish(search)
    assert search.size(1)[0] == 60
    for t, position in enumerate(positions):
        check_tree(search, position, t)


@pytest.mark.parametrize("asked", [True, False])
def test_a_stopped_search_ends_and_can_be_used_again(asked: bool) -> None:
    position = Position()
    search = Search(1, SearchOptions(simulations=400, leaves=8))
    search.plant_position(0, position)
    for request in range(3):
        leaves = search.request()
        assert leaves is not None
        if request == 2 and asked:
            search.stop()
        answer(search, leaves)
    search.stop()
    assert search.request() is None
    assert search.size(0)[0] == 1 + 8 + 8
    check_tree(search, position)
    search.plant_position(0, position, simulations=10)
    finish(search)
    assert search.size(0)[0] == 1 + 8 + 8 + 10
    check_tree(search, position)


def test_answers_must_fit_the_request() -> None:
    search = Search(1, SearchOptions())
    search.plant_position(0, Position())
    search.request()
    with pytest.raises(RuntimeError, match="not answered"):
        search.request()
    none = np.zeros((0, 1), np.int64)
    with pytest.raises(ValueError, match="0 answers for 1"):
        search.answer(none, none.astype(np.float32), np.zeros(0, np.float32))


def test_a_game_at_its_maximum_ply_is_refused() -> None:
    search = Search(1, SearchOptions(), max_ply=2)
    with pytest.raises(ValueError, match="ply 2 of 2"):
        search.plant_position(0, OPEN_BISHOPS)


def test_the_root_has_room_for_its_moves_in_the_smallest_tree() -> None:
    position = Position(MANY_DROPS)
    search = Search(1, SearchOptions(simulations=1), nodes=2)
    search.plant_position(0, position)
    finish(search)
    assert len(search.lines(0, 600)) == len(position.legal_moves()) > 200
    actions = {line.action for line in search.lines(0, 600)}
    assert search.choose(0, greedy=False, temperature=1.0, draw=0.999)[0] in actions


def test_the_network_sees_the_move_number_of_an_sfen() -> None:
    search = Search(1, SearchOptions(simulations=3))
    search.plant_position(0, Position("4k4/9/9/9/9/9/9/9/4K4 b - 101"), trained_max_ply=256)
    seen = []
    while (leaves := search.request()) is not None:
        seen.append(int(leaves.observation[0, PLY_COLUMN]))
        answer(search, leaves)
    assert seen == [100 * 255 // 256, 101 * 255 // 256, seen[2]]
    assert seen[2] in {101 * 255 // 256, 102 * 255 // 256}


def uniform(search: Search) -> None:
    """Answer all requests like a network that knows nothing."""
    while (leaves := search.request()) is not None:
        actions, _ = legal_lists(leaves.mask)
        search.answer(actions, np.zeros(actions.shape, np.float32), np.zeros(len(actions), "f4"))


def test_of_equal_moves_the_first_is_visited() -> None:
    search = Search(1, SearchOptions(simulations=1 + 30 + 3, urgency=0.0, root_urgency=0.0))
    search.plant_position(0, Position())
    uniform(search)
    assert sorted(search.visits(0)[1].tolist(), reverse=True) == search.visits(0)[1].tolist()
    assert search.visits(0)[1][0] > 1


def test_scores_that_are_not_numbers_still_give_a_sound_tree() -> None:
    """An infinite weight of exploration times a probability of 0 is NaN."""
    for seed in range(30):
        position = small_position(np.random.default_rng(seed))
        search = Search(1, SearchOptions(simulations=60, c_base=1e-320, leaves=1 + seed % 4))
        search.plant_position(0, position)
        uniform(search)
        check_tree(search, position)
        assert search.proven(0)[0] or search.size(0)[0] > 30


anything = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(anything, min_size=1, max_size=7),
    priors=st.lists(anything, min_size=1, max_size=7),
    leaves=st.integers(1, 9),
    c_init=st.floats(0, 1e300),
    c_base=st.floats(1e-300, 1e300),
    urgency=st.floats(0, 1e300),
    seed=st.integers(0, 99),
)
def test_any_answers_give_a_sound_tree(
    values: list[float],
    priors: list[float],
    leaves: int,
    c_init: float,
    c_base: float,
    urgency: float,
    seed: int,
) -> None:
    options = SearchOptions(
        simulations=60, leaves=leaves, c_init=c_init, c_base=c_base, urgency=urgency
    )
    position = small_position(np.random.default_rng(seed))
    search = Search(1, options)
    search.plant_position(0, position)
    while (asked := search.request()) is not None:
        actions, _ = legal_lists(asked.mask)
        search.answer(
            actions,
            np.resize(np.array(priors, np.float32), actions.shape),
            np.resize(np.array(values, np.float32), len(actions)),
        )
    check_tree(search, position)
    assert -1 <= search.value(0) <= 1
    assert all(-1 <= line.value <= 1 and 0 <= line.prior <= 1 for line in search.lines(0, 600))
    assert search.proven(0)[0] or search.size(0)[0] == 60
