"""Matches: counts add up, the rules confirm the games, the seed decides the results."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from keisei.env import legal_lists, random_actions
from keisei.evaluation import Match, MatchResult, MatchSpec
from keisei.evaluation.game import Opening
from keisei.evaluation.match import BATCH_GAMES
from keisei.shogi import Position

Agent = Callable[[Any, Any], Any]


def random_agent(seed: int) -> Agent:
    rng = np.array([seed], np.uint64)
    return lambda _observation, mask: random_actions(mask, rng)


def fixed_agent(observation: Any, mask: Any) -> Any:
    """Choose a legal move that depends on the position alone, by an arbitrary rule."""
    lists, counts = legal_lists(mask)
    weights = np.arange(1, 96) ** 2
    index = (observation[:, :95].astype(np.int64) @ weights * 7919) % counts
    return lists[np.arange(len(lists)), index]


def play(agent: Agent, spec: MatchSpec) -> MatchResult:
    match = Match(spec)
    while (wanted := match.request()) is not None:
        match.answer(agent(wanted.observation, wanted.mask))
    return match.result()


def check_counts(result: MatchResult) -> None:
    assert result.wins + result.draws + result.losses + result.capped == result.games
    assert result.score == (result.wins + (result.draws + result.capped) / 2) / result.games
    assert result.interval[0] <= result.score <= result.interval[1]
    for kind, count in (
        ("wins", result.wins),
        ("losses", result.losses),
        ("draws", result.draws),
    ):
        assert sum(result.by_reason[kind].values()) == count
    assert len(result.played) == result.games


def test_random_against_random_is_even_and_the_rules_confirm_its_games() -> None:
    result = play(random_agent(1), MatchSpec("random", games=600, mates=0))
    check_counts(result)
    assert abs(result.score - 0.5) < 0.08
    assert result.interval[0] < 0.5 < result.interval[1]
    for game in result.played[:60]:
        position = Position()
        for usi in game.record().removeprefix("startpos moves ").split():
            assert position.outcome() is None
            position.push(usi)
        assert position.ply == game.plies
        outcome = position.outcome()
        if game.result == "capped":
            assert (outcome, game.plies, game.reason) == (None, 512, "max_ply")
        else:
            assert outcome is not None
            assert (outcome.winner or "draw", outcome.reason) == (game.result, game.reason)


def test_each_opening_is_played_from_both_seats() -> None:
    played = play(random_agent(1), MatchSpec("random", games=6, max_ply=20)).played
    assert [game.pair for game in played] == [0, 0, 1, 1, 2, 2]
    assert [game.agent for game in played] == ["black", "white"] * 3


def test_material_wins_against_random() -> None:
    result = play(random_agent(2), MatchSpec("material", games=40))
    check_counts(result)
    assert result.score <= 0.05
    assert result.losses >= 36


def test_a_player_who_may_declare_wins_by_declaring() -> None:
    result = play(random_agent(5), MatchSpec("random", games=600, seed=3))
    declared = [game for game in result.played if game.reason == "declaration"]
    assert declared
    assert len(declared) == sum(ends.get("declaration", 0) for ends in result.by_reason.values())
    for game in declared:
        position = Position()
        for usi in game.record().removeprefix("startpos moves ").split():
            position.push(usi)
        assert position.declaration() == "win"
        assert position.side == game.result
    spec = MatchSpec("random", games=600, seed=3, declaration="none")
    without = play(random_agent(5), spec)
    assert "declaration" not in {game.reason for game in without.played}


def test_games_cut_at_the_maximum_ply_count_half() -> None:
    result = play(random_agent(1), MatchSpec("random", games=10, max_ply=16))
    check_counts(result)
    assert (result.capped, result.score) == (10, 0.5)
    assert {game.plies for game in result.played} == {16}
    assert result.by_reason == {"wins": {}, "losses": {}, "draws": {}}


@pytest.mark.parametrize("opponent", ["random", "material"])
def test_a_pair_is_played_the_same_however_many_play_beside(opponent: Any) -> None:
    few = play(fixed_agent, MatchSpec(opponent, games=6, seed=9, max_ply=120)).played
    many = play(fixed_agent, MatchSpec(opponent, games=30, seed=9, max_ply=120)).played
    for one, other in zip(few, many[:6], strict=True):
        assert one.actions.tolist() == other.actions.tolist()
    assert len({game.actions.tobytes() for game in many}) > 15


def test_a_long_match_is_played_in_batches() -> None:
    spec = MatchSpec("random", games=2 * BATCH_GAMES + 6, seed=9, max_ply=24)
    match, most = Match(spec), 0
    while (wanted := match.request()) is not None:
        most = max(most, len(wanted.mask))
        match.answer(fixed_agent(wanted.observation, wanted.mask))
    assert BATCH_GAMES // 4 < most <= BATCH_GAMES
    check_counts(match.result())
    games = match.result().played
    assert [game.agent for game in games[-4:]] == ["black", "white"] * 2
    alone = play(
        fixed_agent, MatchSpec("random", games=2 * BATCH_GAMES + 2, seed=9, max_ply=24)
    ).played
    assert [g.actions.tolist() for g in games[: len(alone)]] == [g.actions.tolist() for g in alone]
    position = Position()
    for usi in games[-1].record().removeprefix("startpos moves ").split():
        position.push(usi)
    assert position.ply == games[-1].plies


def test_the_seed_decides_the_games() -> None:
    first, again, other = (
        [
            game.actions.tolist()
            for game in play(fixed_agent, MatchSpec("random", games=10, seed=s)).played
        ]
        for s in (4, 4, 5)
    )
    assert first == again
    assert first != other


def test_a_match_tells_progress_and_score_while_it_is_played() -> None:
    match = Match(MatchSpec("material", games=20, seed=1))
    assert match.played == []
    with pytest.raises(ValueError, match="no game has ended"):
        match.result()
    agent = random_agent(3)
    seen = [0]
    while (wanted := match.request()) is not None:
        assert 0 < len(wanted.observation) == len(wanted.mask) <= 10
        match.answer(agent(wanted.observation, wanted.mask))
        assert len(match.played) >= seen[-1]
        seen.append(len(match.played))
        if match.played:
            found = match.result()
            assert found.games == len(match.played)
            assert found.interval[0] <= found.score <= found.interval[1]
    assert len(match.played) == 20
    assert len(set(seen)) > 4


def test_wrong_answers_are_refused() -> None:
    match = Match(MatchSpec("random", games=4))
    wanted = match.request()
    assert wanted is not None
    with pytest.raises(ValueError, match=r"shape \(3,\), not \(2,\)"):
        match.answer(np.zeros(3, np.int16))
    first = fixed_agent(wanted.observation, wanted.mask)[0]
    with pytest.raises(ValueError, match="action 2186 is not legal in game 2"):
        match.answer(np.array([first, 2186]))


def two_networks(spec: MatchSpec, agents: Any, opponents: Any) -> Match:
    """Play a match of two players who choose by legal moves and drawn numbers."""
    match = Match(spec)
    while (wanted := match.request()) is not None:
        lists, counts = legal_lists(wanted.mask)
        actions = np.empty(len(lists), np.int64)
        for player, rows in ((agents, ~wanted.opponents), (opponents, wanted.opponents)):
            picked = player(lists[rows], counts[rows], wanted.draw[rows])
            actions[rows] = lists[rows, picked]
        match.answer(actions, np.where(wanted.opponents, -0.5, 0.5))
    return match


def by_draw(lists: Any, counts: Any, draw: Any) -> Any:
    return (draw * counts).astype(int)


def first_move(lists: Any, counts: Any, draw: Any) -> Any:
    return np.zeros(len(counts), int)


LINES = ("startpos moves 7g7f 3c3d", "sfen 4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1", "startpos")
OPENINGS = tuple(map(Opening.read, LINES))


def test_equal_networks_share_the_points_exactly() -> None:
    spec = MatchSpec("network", games=60, seed=3, max_ply=200, openings=OPENINGS, mates=0)
    match = two_networks(spec, by_draw, by_draw)
    assert match.result().score == 0.5
    games = match.result().played
    for one, other in zip(games[::2], games[1::2], strict=True):
        assert one.actions.tolist() == other.actions.tolist()
    assert len({game.actions.tobytes() for game in games}) == 30


def test_each_network_is_asked_for_its_own_moves() -> None:
    spec = MatchSpec("network", games=12, seed=3, max_ply=64, openings=OPENINGS, mates=0)
    games = two_networks(spec, by_draw, first_move).result().played
    for game in games:
        position = Position(game.start)
        made = len(OPENINGS[game.pair % 3].actions)
        for ply, action in enumerate(game.actions.tolist()):
            mine = position.side == game.agent
            assert ply < made or game.values[ply] == (0.5 if mine else -0.5)
            assert ply >= made or np.isnan(game.values[ply])
            if ply >= made and not mine:
                assert action == min(map(position.action, position.legal_moves()))
            position.play(action)


def test_both_games_of_a_pair_begin_with_its_opening() -> None:
    spec = MatchSpec("random", games=8, seed=1, max_ply=40, openings=OPENINGS)
    played = play(random_agent(1), spec).played
    for game in played:
        assert game.record().startswith(LINES[game.pair % 3])
    assert played[2].start == played[3].start == LINES[1]


def test_local_players_play_a_match_without_a_request() -> None:
    match = Match(MatchSpec("random", agent="material", games=40, seed=1))
    assert match.request() is None
    assert match.result().wins >= 36


def test_remaining_pairs_are_played_as_in_the_whole_match() -> None:
    spec = MatchSpec("random", agent="material", games=20, seed=1)
    whole, rest = Match(spec), Match(spec, pairs=[3, 7])
    assert whole.request() is rest.request() is None
    assert [game.number for game in rest.result().played] == [6, 7, 14, 15]
    for game in rest.result().played:
        assert game.record() == whole.result().played[game.number].record()
