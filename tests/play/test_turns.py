"""Matches on the device thread: turns, shared batches, and failures that stay in their match."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from device_stand_in import SPEC, DeviceStandIn, SmallMemory
from fake_learner import FakeAgent

from keisei.env import observe_position
from keisei.errors import NotRunning
from keisei.evaluation import Match, MatchSpec, PlayedGame
from keisei.evaluation.network_options import NetworkOptions
from keisei.play.mailbox import PlyRequest
from keisei.play.match_trees import GameTree
from keisei.play.turns import EndMatch, Job, PlayMatch
from keisei.shogi import Position

pytestmark = pytest.mark.anyio
MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"


class Broken(FakeAgent):
    def choose(self, observation: Any, mask: Any, **more: Any) -> Any:
        raise ZeroDivisionError("agent")

    def snapshot(self) -> "Broken":
        return self


class BrokenInSearch(FakeAgent):
    def assess(self, observation: Any, mask: Any) -> Any:
        raise ZeroDivisionError("agent")

    def snapshot(self) -> "BrokenInSearch":
        return self


async def test_players_without_a_network_take_many_short_turns(device: DeviceStandIn) -> None:
    spec = MatchSpec("random", agent="random", games=40, max_ply=200)
    job = Job(Match(spec), (None, None), on_games=print)
    device.matches.obey(PlayMatch(job))
    turns = 0
    while device.matches.running:
        device.matches.turn([])
        turns += 1
    assert turns >= 200 / 17
    whole = Match(spec)
    assert whole.request() is None
    assert job.match.result().to_dict() == whole.result().to_dict(), "the same games"


async def test_an_error_of_an_agent_is_the_result_of_its_match_and_the_others_go_on(
    device: DeviceStandIn,
) -> None:
    bad = await device.start(await device.open(Broken()))
    good = await device.start(await device.open(FakeAgent()))
    device.play()
    await good.finished
    with pytest.raises(ZeroDivisionError, match="agent"):
        await bad.finished


async def test_all_requests_to_one_network_share_a_batch(device: DeviceStandIn) -> None:
    agent = SmallMemory(room=4096)
    network = await device.open(agent)
    spec = MatchSpec("network", games=8, max_ply=12)
    jobs = [await device.start(network, network, spec=spec) for _ in range(3)]
    observation, mask = _first_position(spec)
    ply = PlyRequest(network.id, observation, mask, draw=0.5, choice=spec.choice)
    device.matches.turn([ply])
    assert agent.batches == [24, 1]
    action, value = await ply.answer
    assert mask[0, action // 64] >> (action % 64) & 1
    assert value == 0
    device.play()
    for job in jobs:
        await job.finished
        assert job.match.result().games == 8


async def test_ended_games_are_reported_on_the_loop(device: DeviceStandIn) -> None:
    heard: list[PlayedGame] = []
    job = await device.start(await device.open(FakeAgent()), on_games=heard.extend)
    device.play()
    await job.finished
    await asyncio.sleep(0)
    assert sorted(game.number for game in heard) == list(range(8))


async def test_an_error_in_making_moves_fails_only_that_match(
    device: DeviceStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = await device.start(await device.open(FakeAgent()))
    good = await device.start(await device.open(FakeAgent()))

    def refuse(*moves: Any) -> None:
        raise ValueError("an illegal move")

    monkeypatch.setattr(bad.match, "answer", refuse)
    device.play()
    with pytest.raises(ValueError, match="illegal"):
        await bad.finished
    await good.finished
    assert good.match.result().games == 8


async def test_a_match_that_is_ended_early_is_played_no_further(device: DeviceStandIn) -> None:
    job = await device.start(await device.open(FakeAgent()))
    device.matches.turn([])
    device.matches.obey(EndMatch(job))
    await job.finished
    assert not device.matches.running
    device.matches.obey(EndMatch(job))


async def test_a_player_that_searches_plays_beside_one_that_does_not(
    device: DeviceStandIn,
) -> None:
    network = await device.open(FakeAgent())
    options = NetworkOptions(simulations=8), NetworkOptions()
    spec = MatchSpec("network", games=8, max_ply=24, options=options)
    searching = await device.start(network, network, spec=spec)
    plain = await device.start(network)
    device.play()
    for job in (searching, plain):
        await job.finished
        assert job.match.result().games == 8


async def test_a_search_finds_the_mate_that_the_network_does_not_know(
    device: DeviceStandIn,
) -> None:
    network = await device.open(FakeAgent())
    options = NetworkOptions(simulations=200, mate=False)
    tree = GameTree(replace(SPEC, options=(options, options)), 0)
    position = Position(MATE_IN_ONE)
    tree.plant(position)
    wanted = observe_position(position, 256)
    ply = PlyRequest(network.id, *wanted, draw=0.5, choice=SPEC.choice, tree=tree)
    device.matches.turn([ply])
    device.play()
    action, value = await ply.answer
    assert (position.usi(action), value) == (position.mate(), 1)


async def test_an_error_of_a_searching_agent_fails_its_match_only(device: DeviceStandIn) -> None:
    spec = MatchSpec("random", games=8, max_ply=24, options=(NetworkOptions(8), NetworkOptions()))
    bad = await device.start(await device.open(BrokenInSearch()), spec=spec)
    good = await device.start(await device.open(FakeAgent()), spec=spec)
    device.play()
    await good.finished
    with pytest.raises(ZeroDivisionError, match="agent"):
        await bad.finished


async def test_a_match_that_is_ended_while_it_searches_leaves_no_search(
    device: DeviceStandIn,
) -> None:
    spec = MatchSpec("random", games=8, max_ply=24, options=(NetworkOptions(800), NetworkOptions()))
    job = await device.start(await device.open(FakeAgent()), spec=spec)
    device.matches.turn([])
    device.matches.obey(EndMatch(job))
    await job.finished
    assert not device.matches.running


async def test_closing_fails_the_matches_that_are_played_with_not_running(
    device: DeviceStandIn,
) -> None:
    job = await device.start(await device.open(FakeAgent()))
    device.matches.close()
    with pytest.raises(NotRunning):
        await job.finished
    assert not device.matches.running


def _first_position(spec: MatchSpec) -> tuple[Any, Any]:
    wanted = Match(spec).request()
    assert wanted is not None
    return wanted.observation[:1], wanted.mask[:1]
