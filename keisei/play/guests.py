"""Loads networks that are asked for single moves, and unloads them when they are idle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from anyio import CancelScope

from keisei.errors import InboxFull, NotRunning
from keisei.play.mailbox import Mailbox
from keisei.play.networks import LoadedNetwork
from keisei.play.turns import CloseNetwork, OpenNetwork

MOST = 4
"""Maximum number of networks that are loaded at the same time."""
KEPT_SECONDS = 300.0
"""Seconds after its last move at which a network is unloaded."""


@dataclass(slots=True, eq=False)
class _Guest:
    """A network that is loaded, or that the device thread is loading."""

    command: OpenNetwork
    network: LoadedNetwork | None = None
    users: int = 0
    """Number of moves that are being chosen."""
    left: float = 0.0
    """Time of the loop at which the last move was chosen."""


class Guests:
    """Loads networks on a device thread when they are asked for. Event loop only."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._guests: dict[str, _Guest] = {}

    @asynccontextmanager
    async def network(self, source: str) -> AsyncIterator[LoadedNetwork]:
        """Load the network of a run or checkpoint, unless it is loaded. Keep it for the block.

        A run's newest checkpoint is loaded, and stays the same until the network is unloaded.
        Raises InboxFull, NotRunning, MemoryError, CheckpointError, RunError, DeviceError.
        """
        guest = self._guests.get(source) or self._invite(source)
        guest.users += 1
        try:
            # Without the shield, a cancelled caller would leave a network that nobody unloads.
            with CancelScope(shield=True):
                network: LoadedNetwork = await guest.command.finished
            guest.network = network
            yield network
        finally:
            guest.users -= 1
            loop = asyncio.get_running_loop()
            guest.left = loop.time()
            if guest.network is None and self._guests.get(source) is guest:
                del self._guests[source]  # it could not be loaded
            loop.call_later(KEPT_SECONDS, self._dismiss_idle)

    def _invite(self, source: str) -> _Guest:
        """Ask the device thread to load a network. If necessary, unload another one."""
        if len(self._guests) >= MOST:
            idle = [name for name, guest in self._guests.items() if not guest.users]
            if not idle:
                raise InboxFull(f"{MOST} networks are choosing moves; try again in a moment")
            self._dismiss(min(idle, key=lambda name: self._guests[name].left))
        guest = _Guest(OpenNetwork(source))
        self._mailbox.send(guest.command)
        self._guests[source] = guest
        return guest

    def _dismiss_idle(self) -> None:
        loop = asyncio.get_running_loop()
        for source, guest in list(self._guests.items()):
            if not guest.users and guest.left + KEPT_SECONDS <= loop.time() + 0.01:
                try:
                    self._dismiss(source)
                except InboxFull:
                    loop.call_later(1.0, self._dismiss_idle)
                except NotRunning:  # the end of the run has unloaded all networks
                    self._guests.clear()

    def _dismiss(self, source: str) -> None:
        """Unload a network. Raises InboxFull, NotRunning."""
        network = self._guests[source].network
        if network is not None:
            self._mailbox.send(CloseNetwork(network.id))
        del self._guests[source]
