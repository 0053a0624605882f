"""Networks that single moves are asked of: loaded once, kept for a while, never too many."""

import asyncio
from collections.abc import Iterator

import anyio
import pytest

from keisei.errors import InboxFull
from keisei.play import guests
from keisei.play.guests import Guests
from keisei.play.mailbox import Command, Mailbox
from keisei.play.networks import LoadedNetwork
from keisei.play.turns import CloseNetwork, OpenNetwork
from keisei.store import CheckpointError

pytestmark = pytest.mark.anyio


class Device:
    """The end of a mailbox at which networks are loaded; it notes what it was told to do."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.guests = Guests(self.mailbox)
        self.opened: list[str] = []
        self.closed: list[int] = []

    async def obey(self) -> None:
        """Carry out all commands that wait, and let the callers see it."""
        for command in self.mailbox.commands():
            self._carry_out(command)
        await anyio.sleep(0.01)

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, CloseNetwork):
            self.closed.append(command.id)
            command.finished.set(None)
        elif isinstance(command, OpenNetwork) and command.source == "damaged":
            command.finished.fail(CheckpointError("damaged"))
        elif isinstance(command, OpenNetwork):
            self.opened.append(command.source)
            command.finished.set(LoadedNetwork(len(self.opened), command.source, 1, 256))

    async def serve(self) -> None:
        while True:
            await self.obey()

    async def ask(self, source: str) -> int:
        """Use a network for a moment, and return its id."""
        async with self.guests.network(source) as network:
            await anyio.sleep(0.01)
            return network.id


@pytest.fixture
async def device() -> Iterator[Device]:  # type: ignore[misc]
    made = Device()
    task = asyncio.create_task(made.serve())
    yield made
    task.cancel()


async def test_a_network_is_loaded_once_for_many_moves(device: Device) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(device.ask, "a")
    assert await device.ask("a") == 1
    assert device.opened == ["a"]
    assert device.closed == []


async def test_a_fifth_network_takes_the_place_of_the_one_that_was_idle_longest(
    device: Device,
) -> None:
    for source in "abcdb":
        await device.ask(source)
    await device.ask("e")
    assert device.opened == [*"abcde"]
    assert device.closed == [1]
    await device.ask("b")
    assert device.opened == [*"abcde"]


async def test_no_network_is_unloaded_while_it_chooses_a_move(device: Device) -> None:
    async with anyio.create_task_group() as tasks:

        async def use(source: str) -> None:
            async with device.guests.network(source):
                await anyio.sleep_forever()

        for source in "abcd":
            tasks.start_soon(use, source)
        await anyio.sleep(0.1)
        with pytest.raises(InboxFull, match="4 networks are choosing moves"):
            await device.ask("e")
        tasks.cancel_scope.cancel()
    assert device.closed == []
    await device.ask("e")
    assert len(device.closed) == 1


async def test_a_network_that_is_idle_for_long_is_unloaded(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "KEPT_SECONDS", 0.2)
    await device.ask("a")
    with anyio.fail_after(5):
        while not device.closed:  # noqa: ASYNC110
            await anyio.sleep(0.02)
    assert device.closed == [1]
    assert await device.ask("a") == 2


async def test_a_network_that_could_not_be_loaded_is_tried_again(device: Device) -> None:
    for _ in range(5):
        with pytest.raises(CheckpointError, match="damaged"):
            await device.ask("damaged")
    assert await device.ask("a") == 1
