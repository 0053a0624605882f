"""Matches on a Ray cluster of this machine. Each test that starts one takes seconds."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import pytest
from anyio import to_thread

from keisei.evaluation import Match, MatchSpec, PlayedGame, tally
from keisei.evaluation.openings import choose_openings
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


def kill_a_worker() -> None:
    """Kill a worker process while it plays."""
    while True:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "".join(child.cmdline()).startswith("ray::play_pairs"):
                    child.kill()
                    return


@pytest.mark.nightly
@pytest.mark.timeout(600)
async def test_a_killed_worker_costs_time_only_and_the_games_are_those_of_one_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("ray")
    count, pairs = 400, cluster.PAIRS
    reports: list[int] = []
    killed = threading.Thread(target=kill_a_worker)

    def note(ended: list[PlayedGame]) -> None:
        if not reports:
            killed.start()
        reports.append(len(ended))

    async with cluster_arena("local", "cpu", HALF) as arena:
        games = await played(arena, one_match(count), note)
        await to_thread.run_sync(killed.join)
    assert {found % (2 * pairs) for found in reports} <= {0, count % (2 * pairs)}, "whole tasks"
    assert [game.number for game in games] == list(range(count)), "each game counts once"

    async with local_arena("cpu") as arena:
        alone = await played(arena, one_match(count))
    assert list(map(contents, games)) == list(map(contents, alone))
    assert tally(games).to_dict() == tally(alone).to_dict()
    assert capsys.readouterr().out == "", "stdout is for the result"


def contents(game: PlayedGame) -> Any:
    return game.number, game.start, game.result, game.reason, game.actions.tobytes()


@pytest.mark.nightly
@pytest.mark.timeout(300)
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
