"""Where networks play: a thread that owns the device, asked from the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import torch

from keisei.config import Env
from keisei.errors import InboxFull, NotRunning
from keisei.evaluation import Match, PlayedGame
from keisei.play.background import beside
from keisei.play.engines import Look
from keisei.play.mailbox import Command, Mailbox, Ply
from keisei.play.turns import Job, Matches, Network

BUSY_SECONDS = 0.05
"""Between two tries while the device thread can take no more."""


class DeviceArena:
    """Networks that play on the device thread, by turns with training."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def open(self, source: str) -> Network:
        """Bring a network up. Raises CheckpointError, RunError, DeviceError, NotRunning."""
        network: Network = await self._ask("open", source)
        return network

    async def play(
        self,
        match: Match,
        networks: tuple[Network | None, Network | None],
        tell: Callable[[list[PlayedGame]], None],
        *,
        greedy: bool,
    ) -> None:
        """Play a match; cancelled, it ends early. Raises NotRunning."""
        job = Job(match, networks, greedy, tell)
        try:
            await self._ask("play", job)
            await job.finished
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), suppress(NotRunning):
                await self._ask("end", job)
            raise

    async def choose(
        self, network: Network, look: Look, draw: float, *, greedy: bool
    ) -> tuple[int, float]:
        """Action and value in one position. Raises NotRunning."""
        ply = Ply(network.id, *look, draw=draw, greedy=greedy)
        await self._send(ply)
        return await ply.answer

    async def close(self, network: Network) -> None:
        """Let a network go."""
        with suppress(NotRunning):
            await self._ask("close", network.id)

    async def _ask(self, kind: Any, payload: Any) -> Any:
        command = Command(kind, payload)
        await self._send(command)
        return await command.finished

    async def _send(self, item: Command | Ply) -> None:
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
    """A thread for networks alone, without a training; torch's ``threads`` work for it.

    ``warn`` is told, on that thread, when the device runs out of memory.
    """
    mailbox = Mailbox()
    serve = partial(_serve, mailbox, device, threads, warn)
    thread = partial(anyio.to_thread.run_sync, serve, limiter=anyio.CapacityLimiter(1))
    async with beside(thread, mailbox.request_stop):
        yield DeviceArena(mailbox)


def _serve(mailbox: Mailbox, device: str, threads: int, warn: Callable[[str], None]) -> None:
    # Beside a running training, two threads that wait for each other are 20 times slower than one.
    torch.set_num_threads(threads)
    matches = Matches("", Env(), device, lambda name, level, text: warn(text))
    try:
        while not mailbox.stopping():
            for command in mailbox.commands():
                matches.obey(command)
            asked = [item for item in mailbox.questions() if isinstance(item, Ply)]
            if matches.running or asked:
                matches.turn(asked)
            else:
                mailbox.wait(0.5)
    finally:
        mailbox.close()
        matches.close()
