"""Games side by side: their random numbers, what networks see, and resignation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from keisei.env import legal_lists, random_actions
from keisei.env.observe import PLY_COLUMN
from keisei.evaluation import MatchResult, MatchSpec, tally
from keisei.evaluation.batch import GameBatch, Wanted
from keisei.evaluation.game import Opening

Agent = Callable[[GameBatch, Wanted], tuple[Any, Any]]
"""Actions and values (or None) for what a batch wants."""


def play(spec: MatchSpec, agent: Agent) -> MatchResult:
    batch = GameBatch(spec, range(spec.games // 2))
    while (wanted := batch.request(-1)) is not None:
        batch.answer(*agent(batch, wanted))
    return tally(sorted(batch.take_ended(), key=lambda game: game.number))


def random_agent(seed: int) -> Callable[[Wanted], Any]:
    rng = np.array([seed], np.uint64)
    return lambda wanted: random_actions(wanted.mask, rng)


def test_both_games_of_a_pair_get_the_same_random_numbers() -> None:
    """An agent with the same random numbers mirrors the seats: the score is exactly one half."""
    spec = MatchSpec("random", games=40, seed=11, mates=0)
    streams = np.random.SeedSequence(spec.seed).generate_state(20, np.uint64)
    rng = np.repeat(streams, 2)[:, None].copy()

    def agent(batch: GameBatch, wanted: Wanted) -> tuple[Any, None]:
        rows, _ = batch._rows_to_move()
        moves = [random_actions(wanted.mask[[i]], rng[row])[0] for i, row in enumerate(rows)]
        return np.array(moves, np.int16), None

    assert play(spec, agent).score == 0.5


def test_the_agent_sees_the_ply_as_in_training() -> None:
    plies = {}
    for trained in (None, 64):
        choose = random_agent(1)
        seen = []

        def agent(batch: GameBatch, wanted: Wanted) -> tuple[Any, None]:
            seen.append(int(wanted.observation[0, PLY_COLUMN]))  # noqa: B023
            return choose(wanted), None  # noqa: B023

        spec = MatchSpec("random", games=2, max_ply=128, trained_max_ply=(trained, 8), mates=0)
        play(spec, agent)
        plies[trained] = seen
    assert plies[None][:70] == [ply * 255 // 128 for ply in range(70)]
    assert plies[64][:70] == [min(ply * 255 // 64, 255) for ply in range(70)]


def plies_when_hopeless(resign: float, *, doubt_at: int | None = None) -> list[tuple[str, int]]:
    """Reasons and lengths of games in which the network expects -0.96 from ply 20 on."""
    choose = random_agent(1)

    def agent(batch: GameBatch, wanted: Wanted) -> tuple[Any, Any]:
        ply = batch._env.games["ply"][batch._rows_to_move()[0]]
        return choose(wanted), np.where((ply < 20) | np.isin(ply, [doubt_at]), 0, -0.96)

    result = play(MatchSpec("random", games=8, max_ply=60, resign=resign), agent)
    return [(game.reason, game.plies) for game in result.played]


def test_a_network_resigns_after_three_hopeless_moves_in_a_row() -> None:
    resigned = [
        ("resignation", 24),
        ("resignation", 25),
    ] * 4  # black at 20, 22, 24; white one later
    assert plies_when_hopeless(-0.95) == resigned
    assert plies_when_hopeless(-0.97) == plies_when_hopeless(0) == [("max_ply", 60)] * 8
    later = plies_when_hopeless(-0.95, doubt_at=22)
    assert later == [("resignation", 28), ("resignation", 25)] * 4


def test_a_player_who_resigns_has_lost() -> None:
    choose = random_agent(1)
    result = play(
        MatchSpec("random", games=8, resign=-0.5),
        lambda batch, wanted: (choose(wanted), np.full(len(wanted.mask), -1.0)),
    )
    assert result.by_reason["losses"] == {"resignation": 8}
    assert all(len(game.values) == game.plies == len(game.moves()) for game in result.played)


MATE_IN_ONE = Opening.read("sfen 4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1")


def by_draw(batch: GameBatch, wanted: Wanted) -> tuple[Any, Any]:
    """Move and value depend only on the position and on the random number of the ply."""
    lists, counts = legal_lists(wanted.mask)
    picked = (wanted.draw * counts).astype(int)
    return lists[np.arange(len(lists)), picked], wanted.draw - 0.5


def test_a_network_plays_a_mate_in_one_without_being_asked() -> None:
    batch = GameBatch(MatchSpec("network", games=2, openings=(MATE_IN_ONE,)), [0])
    assert batch.request(-1) is None
    for game in batch.take_ended():
        assert (game.result, game.reason, game.values.tolist()) == ("black", "checkmate", [1])


MATE_IN_THREE = Opening.read(
    "sfen ln2g3l/2s1g2s1/5knS1/p5R1p/1ppp3n1/P3+p3P/2Rg3PL/4l4/g+b1K1s1N1 w BP8p 1"
)


def test_in_a_mate_in_three_only_the_side_that_is_mated_is_asked() -> None:
    spec = MatchSpec("network", games=2, openings=(MATE_IN_THREE,), mates=3)
    for game in play(spec, by_draw).played:
        assert (game.result, game.reason, game.plies) == ("white", "checkmate", 3)
        assert game.values[[0, 2]].tolist() == [1, 1]
        assert game.values[1] < 0.5


def test_a_mate_that_the_maximum_ply_would_cut_short_is_not_played() -> None:
    spec = MatchSpec("network", games=2, openings=(MATE_IN_THREE,), mates=3, max_ply=2)
    wanted = GameBatch(spec, [0]).request(-1)
    assert wanted is not None
    assert len(wanted.mask) == 2


def test_a_mate_counts_as_a_ply_of_the_callers_limit() -> None:
    batch = GameBatch(MatchSpec("network", games=2, openings=(MATE_IN_ONE,)), [0])
    wanted = batch.request(0)
    assert wanted is not None
    assert len(wanted.mask) == 0
    assert not batch.over
    batch.answer(np.empty(0, np.int16), np.empty(0, np.float32))
    assert batch.over


def test_local_players_look_for_no_mates() -> None:
    spec = MatchSpec("random", games=40, max_ply=1, openings=(MATE_IN_ONE,))
    networks, local = play(spec, by_draw).played[::2], play(spec, by_draw).played[1::2]
    assert {game.reason for game in networks} == {"checkmate"}
    assert "max_ply" in {game.reason for game in local}
    assert all(np.isnan(game.values).all() for game in local)


@pytest.mark.parametrize("opponent", ["random", "network"])
def test_a_game_is_the_same_with_and_without_mates_until_a_network_has_a_mate(
    opponent: Any,
) -> None:
    raw, proven = (
        play(MatchSpec(opponent, games=40, mates=mates, resign=-0.4), by_draw).played
        for mates in (0, 1)
    )
    won = 0
    for one, other in zip(raw, proven, strict=True):
        last = other.plies - 1
        if other.values[last] == 1:
            assert other.reason == "checkmate"
            won += 1
        else:
            assert (one.result, one.reason, one.plies) == (other.result, other.reason, other.plies)
            last += 1
        assert one.actions[:last].tolist() == other.actions[:last].tolist()
        np.testing.assert_array_equal(one.values[:last], other.values[:last])
    assert 0 < won < 40
    assert "resignation" in {game.reason for game in proven}
