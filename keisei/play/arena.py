"""Lets code on the event loop play matches of networks, which compute on a device thread."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Protocol

import anyio
import anyio.to_thread
import torch

from keisei.config import Env
from keisei.env.observe import Observed
from keisei.errors import InboxFull, NotRunning
from keisei.evaluation import Match, PlayedGame
from keisei.match_rules import Choice
from keisei.play.background import in_background
from keisei.play.mailbox import Command, Mailbox, PlyRequest
from keisei.play.match_trees import GameTree
from keisei.play.networks import LoadedNetwork, Networks
from keisei.play.turns import (
    CloseNetwork,
    EndMatch,
    Job,
    MatchCommand,
    Matches,
    OpenNetwork,
    PlayMatch,
)

BUSY_SECONDS = 0.05
"""Seconds between two attempts to send a request while the mailbox is full."""
Pair = tuple[LoadedNetwork | None, LoadedNetwork | None]
"""The networks of agent and opponent; None stands for a local player."""


class Arena(Protocol):
    """The interface through which a tournament loads networks and lets them play."""

    async def open(self, source: str) -> LoadedNetwork:
        """Load ``current``, or the network of a run or checkpoint.

        Raises an exception if the network can't be loaded.
        """

    async def play(
        self,
        match: Match,
        networks: Pair,
        on_games: Callable[[list[PlayedGame]], None],
    ) -> None:
        """Play a match to its end; pass ended games to ``on_games`` from time to time.

        If the call is cancelled, the match ends early.
        """

    async def choose(
        self,
        network: LoadedNetwork,
        observed: Observed,
        draw: float,
        choice: Choice,
        tree: GameTree | None = None,
    ) -> tuple[int, float]:
        """Return the network's action and value in one position.

        If ``tree`` is given, it is searched first; its root must be the position.
        """

    async def close(self, network: LoadedNetwork) -> None:
        """Unload a network."""


class DeviceArena:
    """Lets networks play on the device thread that reads ``mailbox``.

    Training and matches take turns.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def open(self, source: str) -> LoadedNetwork:
        """Load a network.

        Raises CheckpointError, RunError, DeviceError, MemoryError, NotRunning.
        """
        command = OpenNetwork(source)
        await self._send(command)
        network: LoadedNetwork = await command.finished
        return network

    async def play(
        self,
        match: Match,
        networks: Pair,
        on_games: Callable[[list[PlayedGame]], None],
    ) -> None:
        """Play a match to its end. If the call is cancelled, the match ends early.

        Raises NotRunning.
        """
        job = Job(match, networks, on_games)
        try:
            await self._do(PlayMatch(job))
            await job.finished
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), suppress(NotRunning):
                await self._do(EndMatch(job))
            raise

    async def choose(
        self,
        network: LoadedNetwork,
        observed: Observed,
        draw: float,
        choice: Choice,
        tree: GameTree | None = None,
    ) -> tuple[int, float]:
        """Return the network's action and value in one position. Raises NotRunning."""
        request = PlyRequest(network.id, *observed, draw=draw, choice=choice, tree=tree)
        await self._send(request)
        return await request.answer

    async def close(self, network: LoadedNetwork) -> None:
        """Unload a network. Does nothing if the run has ended."""
        with suppress(NotRunning):
            await self._do(CloseNetwork(network.id))

    async def _do(self, command: Command) -> None:
        await self._send(command)
        await command.finished

    async def _send(self, item: Command | PlyRequest) -> None:
        while True:
            try:
                self._mailbox.send(item)
            except InboxFull:
                await anyio.sleep(BUSY_SECONDS)
            else:
                return


@asynccontextmanager
async def local_arena(
    device: str, threads: int = 1, warn: Callable[[str], None] = lambda text: None
) -> AsyncIterator[DeviceArena]:
    """Start a device thread that plays matches and does not train.

    The thread ends when the block ends. Torch uses ``threads`` CPU threads. ``warn`` is called on
    the device thread when the device runs out of memory.
    """
    mailbox = Mailbox()
    serve = partial(_serve, mailbox, device, threads, warn)
    thread = partial(anyio.to_thread.run_sync, serve, limiter=anyio.CapacityLimiter(1))
    async with in_background(thread, mailbox.request_stop):
        yield DeviceArena(mailbox)


def _serve(mailbox: Mailbox, device: str, threads: int, warn: Callable[[str], None]) -> None:
    # While another process trains on this machine, two torch threads are 20 times slower than one,
    # because the two threads wait for each other.
    torch.set_num_threads(threads)
    matches = Matches(Networks("", Env(), device, lambda name, level, text: warn(text)))
    try:
        while not mailbox.stopping():
            for command in mailbox.commands():
                if isinstance(command, MatchCommand):
                    matches.obey(command)
                else:
                    command.finished.fail(TypeError(f"a local arena does not know {command!r}"))
            requests = [item for item in mailbox.positions() if isinstance(item, PlyRequest)]
            if matches.running or requests:
                matches.turn(requests)
            else:
                mailbox.wait(0.5)
    finally:
        mailbox.close()
        matches.close()
