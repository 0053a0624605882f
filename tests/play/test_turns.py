"""Matches on the device thread: failures, memory, batches, turns."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fake_learner import FakeAgent

from keisei.config import Env
from keisei.errors import NotRunning
from keisei.evaluation import Match, MatchSpec, PlayedGame
from keisei.play.mailbox import PlyRequest
from keisei.play.networks import LoadedNetwork, Networks
from keisei.play.turns import CloseNetwork, EndMatch, Job, Matches, OpenNetwork, PlayMatch

pytestmark = pytest.mark.anyio
SPEC = MatchSpec("random", games=8, max_ply=12)


class SmallMemory(FakeAgent):
    """Has room for some positions."""

    def __init__(self, room: int = 3) -> None:
        super().__init__()
        self.room = room
        self.batches: list[int] = []

    def choose(self, observation: Any, mask: Any, **more: Any) -> Any:
        if len(mask) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(mask))
        return super().choose(observation, mask, **more)

    def snapshot(self) -> "SmallMemory":
        return self


class Broken(FakeAgent):
    def choose(self, observation: Any, mask: Any, **more: Any) -> Any:
        raise ZeroDivisionError("agent")

    def snapshot(self) -> "Broken":
        return self


class Table:
    """Matches, and what is heard of them."""

    def __init__(self, **limits: int) -> None:
        self.alerts: list[tuple[str, ...]] = []
        alert = lambda *alert: self.alerts.append(alert)  # noqa: E731
        self.networks = Networks("run", Env(), "cpu", alert, **limits)
        self.matches = Matches(self.networks)

    async def open(self, agent: FakeAgent, step: int = 7) -> LoadedNetwork:
        command = OpenNetwork("current")
        self.matches.obey(command, agent, step)
        network: LoadedNetwork = await command.finished
        return network

    async def start(
        self,
        *networks: LoadedNetwork,
        spec: MatchSpec = SPEC,
        on_games: Callable[..., None] = print,
    ) -> Job:
        both = networks[0], networks[1] if len(networks) > 1 else None
        job = Job(Match(spec), both, on_games=on_games)
        self.matches.obey(PlayMatch(job))
        return job

    def play(self) -> None:
        while self.matches.running:
            self.matches.turn([])


@pytest.fixture(scope="module", autouse=True)
def rules() -> None:
    """Compiled before the tests look for what blocks the loop."""
    Match(MatchSpec("random", agent="random", games=2, max_ply=8)).request()


@pytest.fixture
def table() -> Table:
    return Table()


async def test_out_of_memory_halves_the_batch_and_is_told(table: Table) -> None:
    agent = SmallMemory()
    job = await table.start(await table.open(agent))
    table.play()
    await job.finished
    assert job.match.result().games == 8
    assert max(agent.batches) <= 3
    assert table.alerts[0][:2] == ("evaluation_memory", "warning")


async def test_networks_that_need_more_than_the_limit_are_refused() -> None:
    class Big(FakeAgent):
        nbytes = 700 << 10  # a class attribute does as well

        def snapshot(self) -> "Big":
            return self

    table = Table(memory_mib=1)
    first = await table.open(Big())
    with pytest.raises(MemoryError, match=r"evaluation\.memory_mib: 1; .* take 0\.7 MiB, and this"):
        await table.open(Big())
    table.matches.obey(CloseNetwork(first.id))
    await table.open(Big())


async def test_no_network_is_asked_more_than_the_limit_at_once() -> None:
    table, agent = Table(batch=3), SmallMemory(room=100)
    job = await table.start(await table.open(agent))
    table.play()
    await job.finished
    assert max(agent.batches) == 3
    assert table.alerts == []


async def test_players_without_a_network_take_many_short_turns(table: Table) -> None:
    spec = MatchSpec("random", agent="random", games=40, max_ply=200)
    job = Job(Match(spec), (None, None), on_games=print)
    table.matches.obey(PlayMatch(job))
    turns = 0
    while table.matches.running:
        table.matches.turn([])
        turns += 1
    assert turns >= 200 / 17
    whole = Match(spec)
    assert whole.request() is None
    assert job.match.result().to_dict() == whole.result().to_dict(), "the same games"


async def test_no_memory_at_all_fails_the_match_only(table: Table) -> None:
    bad = await table.start(await table.open(SmallMemory(room=0)))
    good = await table.start(await table.open(FakeAgent()))
    table.play()
    await good.finished
    assert good.match.result().games == 8
    with pytest.raises(torch.OutOfMemoryError):
        await bad.finished


async def test_one_matchs_failure_is_its_result_and_the_others_go_on(table: Table) -> None:
    bad = await table.start(await table.open(Broken()))
    good = await table.start(await table.open(FakeAgent()))
    table.play()
    await good.finished
    with pytest.raises(ZeroDivisionError, match="agent"):
        await bad.finished


async def test_all_that_ask_one_network_share_a_batch(table: Table) -> None:
    agent = SmallMemory(room=4096)
    network = await table.open(agent)
    spec = MatchSpec("network", games=8, max_ply=12)
    jobs = [await table.start(network, network, spec=spec) for _ in range(3)]
    observation, mask = _first_look(spec)
    ply = PlyRequest(network.id, observation, mask, draw=0.5, rules=spec)
    table.matches.turn([ply])
    assert agent.batches == [24, 1]
    action, value = await ply.answer
    assert mask[0, action // 64] >> (action % 64) & 1
    assert value == 0
    table.play()
    for job in jobs:
        await job.finished
        assert job.match.result().games == 8


async def test_games_are_told_on_the_loop_as_they_end(table: Table) -> None:
    heard: list[PlayedGame] = []
    job = await table.start(await table.open(FakeAgent()), on_games=heard.extend)
    table.play()
    await job.finished
    await asyncio.sleep(0)
    assert sorted(game.number for game in heard) == list(range(8))


async def test_networks_have_the_name_of_their_weights_and_are_copies(table: Table) -> None:
    live = FakeAgent()
    network = await table.open(live, step=41)
    assert (network.name, network.step, network.max_ply) == ("run@41", 41, Env().max_ply)
    assert table.networks._agents[network.id] is not live
    table.matches.obey(CloseNetwork(network.id))
    assert not table.networks._agents
    missing = OpenNetwork("/nowhere")
    await asyncio.to_thread(table.matches.obey, missing, live, 41)
    with pytest.raises(Exception, match="nowhere: no such file or folder"):
        await missing.finished


async def test_an_error_in_making_moves_fails_that_match(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = await table.start(await table.open(FakeAgent()))
    good = await table.start(await table.open(FakeAgent()))

    def refuse(*moves: Any) -> None:
        raise ValueError("an illegal move")

    monkeypatch.setattr(bad.match, "answer", refuse)
    table.play()
    with pytest.raises(ValueError, match="illegal"):
        await bad.finished
    await good.finished
    assert good.match.result().games == 8


async def test_a_match_that_is_ended_is_played_no_further(table: Table) -> None:
    job = await table.start(await table.open(FakeAgent()))
    table.matches.turn([])
    table.matches.obey(EndMatch(job))
    await job.finished
    assert not table.matches.running
    table.matches.obey(EndMatch(job))


async def test_closing_refuses_what_plays(table: Table) -> None:
    job = await table.start(await table.open(FakeAgent()))
    table.matches.close()
    with pytest.raises(NotRunning):
        await job.finished
    assert not table.matches.running


def _first_look(spec: MatchSpec) -> tuple[Any, Any]:
    wanted = Match(spec).request()
    assert wanted is not None
    return wanted.observation[:1], wanted.mask[:1]
