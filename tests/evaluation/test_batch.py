"""Games side by side: their random numbers, what networks see, and resignation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keisei.env import random_actions
from keisei.env.observe import PLY_COLUMN
from keisei.evaluation import MatchResult, MatchSpec, tally
from keisei.evaluation.batch import GameBatch, Wanted

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
    spec = MatchSpec("random", games=40, seed=11)
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

        play(MatchSpec("random", games=2, max_ply=128, trained_max_ply=(trained, 8)), agent)
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
