"""Search trees of a match: planted for the players that search, kept from move to move."""

import numpy as np
import pytest
from fake_learner import FakeAgent

from keisei.env import observe_position
from keisei.evaluation import Match, MatchSpec
from keisei.evaluation.network_options import NetworkOptions
from keisei.play.match_trees import GameTree, MatchTrees
from keisei.shogi import Position

SEARCHING, PLAIN = NetworkOptions(simulations=16), NetworkOptions()


def play(spec: MatchSpec, plies: int = 1000) -> tuple[Match, list[list[int]]]:
    """Play a match with trees; also return the sides that searched, for each ply."""
    match, trees, agent, sides = Match(spec), MatchTrees(spec), FakeAgent(), []
    while len(sides) < plies and (wanted := match.request()) is not None:
        actions, values = agent.choose(wanted.observation, wanted.mask)
        begun = trees.begin(wanted)
        sides.append([side for side, _ in begun])
        for _, search in begun:
            while (leaves := search.request()) is not None:
                search.answer(*agent.assess(leaves.observation, leaves.mask))
        trees.choose(wanted, actions, values)
        match.answer(actions, values)
    return match, sides


def test_only_the_player_with_simulations_searches() -> None:
    _, sides = play(MatchSpec("network", games=2, max_ply=6, options=(PLAIN, SEARCHING)))
    assert sides == [[1]] * 6, "one game each with the searching player to move"


def test_both_players_can_search() -> None:
    match, sides = play(MatchSpec("network", games=4, max_ply=6, options=(SEARCHING, SEARCHING)))
    assert sides == [[0, 1]] * 6
    assert match.result().games == 4


def test_a_search_plays_what_a_search_of_its_own_would_play() -> None:
    """The games of a match are searched together; each game is played as if it were alone."""
    rules = {"max_ply": 10, "greedy": True, "options": (SEARCHING, PLAIN)}
    together, _ = play(MatchSpec("random", games=8, **rules))
    for pair in range(4):
        alone = Match(MatchSpec("random", games=8, **rules), [pair])
        whole = {game.number: game.moves() for game in together.played}
        trees, agent = MatchTrees(alone.spec), FakeAgent()
        while (wanted := alone.request()) is not None:
            actions = np.zeros(len(wanted.mask), np.int16)
            values = np.zeros(len(wanted.mask), np.float32)
            for _, search in trees.begin(wanted):
                while (leaves := search.request()) is not None:
                    search.answer(*agent.assess(leaves.observation, leaves.mask))
            trees.choose(wanted, actions, values)
            alone.answer(actions, values)
        for game in alone.played:
            assert game.moves() == whole[game.number]


def test_a_game_against_an_engine_has_a_tree_if_its_player_searches() -> None:
    spec = MatchSpec("engine", games=2, options=(SEARCHING, PLAIN))
    assert GameTree.of(spec, 0) is not None
    assert GameTree.of(spec, 1) is None


def test_a_player_of_values_plays_the_move_after_which_its_value_is_best() -> None:
    spec = MatchSpec("engine", games=2, options=(NetworkOptions(value=True), PLAIN))
    position = Position()
    tree = GameTree(spec, 0)
    tree.plant(position)
    seen = {}
    while (leaves := tree.search.request()) is not None:
        actions, priors, _ = FakeAgent().assess(leaves.observation, leaves.mask)
        values = (leaves.observation.astype(np.int64).sum(1) % 101 / 101).astype(np.float32)
        tree.search.answer(actions, priors, values)
    for move in position.legal_moves():
        after = position.copy()
        after.push(move)
        observation, _ = observe_position(after, spec.max_ply)
        seen[position.action(move)] = -(int(observation.astype(np.int64).sum()) % 101) / 101
    action, value = tree.choose(0.5)
    assert len(seen) == 30
    assert value == pytest.approx(max(seen.values()))
    assert seen[action] == max(seen.values())
