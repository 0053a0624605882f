"""Matches on a Ray cluster of this machine. Each test that starts one takes seconds."""

import os
import sys
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from keisei.evaluation import Match, MatchSpec, PlayedGame, tally
from keisei.evaluation.openings import choose_openings
from keisei.evaluation.statistics import strength
from keisei.play import cluster
from keisei.play.arena import Arena, local_arena
from keisei.play.cluster import ClusterError, cluster_arena
from keisei.play.tournament import _openings

pytestmark = pytest.mark.anyio
HALF = max(1, (os.cpu_count() or 2) // 2)
"""Processors of a task, so that two tasks run at once."""


def one_match(games: int) -> Match:
    openings = choose_openings(_openings(None), games // 2, 5)
    return Match(MatchSpec("random", games=games, seed=5, max_ply=120, openings=openings))


async def played(
    arena: Arena, match: Match, on_games: Callable[[list[PlayedGame]], None] = lambda games: None
) -> list[PlayedGame]:
    """Let the shipped network play a match; return its games by number."""
    games: list[PlayedGame] = []

    def take(ended: list[PlayedGame]) -> None:
        games.extend(ended)
        on_games(ended)

    network = await arena.open("shipped")
    await arena.play(match, (network, None), take)
    await arena.close(network)
    return sorted(games, key=lambda game: game.number)


def workers() -> list[psutil.Process]:
    """Return the worker processes that play now."""
    below = psutil.Process().children(recursive=True)
    return [one for one in below if "".join(one.cmdline()).startswith("ray::play_pairs")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("count", "pairs"), [(48, 2), pytest.param(400, 16, marks=pytest.mark.nightly)]
)
async def test_a_killed_worker_costs_time_only_and_the_games_are_those_of_one_process(
    count: int, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(cluster, "PAIRS", pairs)
    reports: list[int] = []
    killed: list[psutil.Process] = []

    def kill_one(ended: list[PlayedGame]) -> None:
        reports.append(len(ended))
        if not killed and (found := workers()):
            found[0].kill()
            killed.append(found[0])

    async with cluster_arena("local", "cpu", HALF) as arena:
        games = await played(arena, one_match(count), kill_one)
    assert killed, "the test must kill a worker while it plays"
    assert set(reports) == {2 * pairs} or count % (2 * pairs), "whole pairs come back"
    assert [game.number for game in games] == list(range(count)), "each game counts once"

    async with local_arena("cpu") as arena:
        alone = await played(arena, one_match(count))
    assert list(map(contents, games)) == list(map(contents, alone))
    assert tally(games) == tally(alone)
    print(tally(games), strength_of(games))


def contents(game: PlayedGame) -> Any:
    return game.number, game.start, game.result, game.reason, game.actions.tobytes()


def strength_of(games: list[PlayedGame]) -> Any:
    import numpy as np

    points = np.array([game.points for game in games])
    return strength(points, np.array([game.pair for game in games])).to_dict()


@pytest.mark.timeout(120)
async def test_a_task_that_fits_on_no_machine_is_refused_and_so_is_a_wrong_address() -> None:
    pytest.importorskip("ray")
    with pytest.raises(ClusterError, match="no machine of the cluster has 1000000 CPU"):
        async with cluster_arena("local", "cpu", 1_000_000):
            pass
    with pytest.raises(ClusterError, match="cannot connect to auto: "):
        async with cluster_arena("auto", "cpu", 1):
            pass


async def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"run pip install 'keisei\[ray\]'"):
        async with cluster_arena("local", "cpu", 1):
            pass
