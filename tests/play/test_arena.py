"""Where networks play: requests from the loop, a device thread that answers them."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import torch
from device_stand_in import SPEC, DeviceStandIn
from engine_tools import nothing_left
from fake_learner import FakeAgent

from keisei.config import Settings
from keisei.errors import NotRunning
from keisei.evaluation import Match, MatchSpec, PlayedGame
from keisei.nets.policy import Agent
from keisei.nets.registry import build
from keisei.play import arena as arena_module
from keisei.play.arena import DeviceArena, local_arena
from keisei.play.mailbox import INBOX, Command, Mailbox
from keisei.play.turns import EndMatch, OpenNetwork, PlayMatch
from keisei.store import CheckpointError, RunDirectory, save_checkpoint

pytestmark = pytest.mark.anyio
NET = {"kind": "mlp", "blocks": 1, "channels": 16}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    with RunDirectory.create(Settings(), tmp_path / "quick") as run:
        return save_checkpoint(run, 7, {"weights": build(**NET).state_dict()}, {"net": NET})


async def next_command(mailbox: Mailbox) -> Command:
    """Return the next command for the device thread, which the test plays."""
    with anyio.fail_after(5):
        while not (commands := mailbox.commands()):
            await anyio.lowlevel.checkpoint()
    (command,) = commands
    return command


async def test_a_network_is_loaded_plays_and_is_unloaded(checkpoint: Path) -> None:
    games: list[PlayedGame] = []
    async with nothing_left(), local_arena("cpu") as arena:
        network = await arena.open(str(checkpoint))
        assert (network.name, network.step, network.max_ply) == ("quick@7", 7, 256)
        await arena.play(Match(SPEC), (network, None), games.extend)
        position = Match(MatchSpec("random", games=2)).request()
        assert position is not None
        observed = position.observation[:1], position.mask[:1]
        action, value = await arena.choose(network, observed, 0.5, SPEC.choice)
        assert observed[1][0, action // 64] >> (action % 64) & 1
        assert -1 <= value <= 1
        await arena.close(network)
        with pytest.raises(KeyError):
            await arena.choose(network, observed, 0.5, SPEC.choice)
    assert sorted(game.number for game in games) == list(range(8))


async def test_an_error_of_the_device_thread_is_raised_where_it_was_asked(tmp_path: Path) -> None:
    async with local_arena("cpu") as arena:
        with pytest.raises(CheckpointError, match="nowhere: no such file or folder"):
            await arena.open(str(tmp_path / "nowhere"))
        await arena.play(Match(MatchSpec("random", agent="random", games=2)), (None, None), print)


async def test_a_cancelled_match_is_ended_on_the_device() -> None:
    mailbox, device = Mailbox(), DeviceStandIn()
    match = Match(MatchSpec("random", agent="random", games=40, max_ply=200))
    games: list[PlayedGame] = []
    async with anyio.create_task_group() as group:
        group.start_soon(DeviceArena(mailbox).play, match, (None, None), games.extend)
        begin = await next_command(mailbox)
        assert isinstance(begin, PlayMatch)
        device.matches.obey(begin)
        device.matches.turn([])
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            end = await next_command(mailbox)
            assert isinstance(end, EndMatch)
            assert end.job is begin.job
            device.matches.obey(end)
    assert not device.matches.running
    assert begin.job.finished.done


async def test_a_match_that_is_cancelled_after_the_run_has_ended_is_just_cancelled() -> None:
    mailbox = Mailbox()
    match = Match(SPEC)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(DeviceArena(mailbox).play, match, (None, None), print)
            (await next_command(mailbox)).finished.set(None)
            mailbox.request_stop()
            group.cancel_scope.cancel()
    assert group.cancel_scope.cancelled_caught


async def test_requests_wait_while_the_inbox_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Mailbox()
    full = [Command() for _ in range(INBOX)]
    for command in full:
        mailbox.send(command)
    tries: list[float] = []
    taken = anyio.Event()

    async def sleep(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 3:
            assert mailbox.commands() == full
            taken.set()
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(arena_module.anyio, "sleep", sleep)
    opened = asyncio.ensure_future(DeviceArena(mailbox).open("current"))
    await taken.wait()
    command = await next_command(mailbox)
    assert isinstance(command, OpenNetwork)
    DeviceStandIn().matches.obey(command, FakeAgent(), 3)
    assert (await opened).step == 3
    assert tries == [arena_module.BUSY_SECONDS] * 3


async def test_after_the_end_of_the_run_requests_fail_but_closing_does_nothing() -> None:
    device = DeviceStandIn()
    network = await device.open(FakeAgent())
    mailbox = Mailbox()
    mailbox.request_stop()
    arena = DeviceArena(mailbox)
    with pytest.raises(NotRunning):
        await arena.open("current")
    with pytest.raises(NotRunning):
        await arena.play(Match(SPEC), (network, None), print)
    await arena.close(network)


async def test_leaving_a_local_arena_ends_its_thread_and_fails_the_matches_in_play() -> None:
    begun = anyio.Event()
    failed: list[Exception] = []

    async def play(arena: DeviceArena) -> None:
        match = Match(MatchSpec("random", agent="random", games=2000, max_ply=200))
        try:
            await arena.play(match, (None, None), lambda games: begun.set())
        except NotRunning as error:
            failed.append(error)

    async with nothing_left(), anyio.create_task_group() as group, local_arena("cpu") as arena:
        group.start_soon(play, arena)
        await begun.wait()
    assert len(failed) == 1
    with pytest.raises(NotRunning):
        await arena.open("current")


async def test_a_local_arena_refuses_commands_that_are_not_for_matches() -> None:
    async with local_arena("cpu") as arena:
        unknown = Command()
        arena._mailbox.send(unknown)
        with pytest.raises(TypeError, match="a local arena does not know Command"):
            await unknown.finished


async def test_a_local_arena_warns_when_its_device_runs_out_of_memory(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = Agent.choose

    def small(self: Agent, observation: Any, mask: Any, **more: Any) -> Any:
        if len(mask) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return choose(self, observation, mask, **more)

    monkeypatch.setattr(Agent, "choose", small)
    warnings: list[str] = []
    async with local_arena("cpu", warn=warnings.append) as arena:
        network = await arena.open(str(checkpoint))
        await arena.play(Match(SPEC), (network, None), print)
    assert warnings == ["out of memory: from now on, a batch has at most 2 positions"]
