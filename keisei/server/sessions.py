"""Sessions of signed-in browsers, and the limit of failed sign-ins."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

import anyio

from keisei.server.addresses import network_of

SECONDS = 7 * 86_400.0
"""Seconds after which a session ends."""
MOST_SESSIONS = 1000
"""Maximum number of sessions. If one more browser signs in, the oldest session ends."""

FAILURES = 10
"""Number of failed sign-ins after which an address must wait."""
FAILURE_SECONDS = 60.0
"""Seconds that an address must wait after these failures."""
MOST_ADDRESSES = 1000
"""Maximum number of addresses whose failures are counted.

The address whose last failure is the oldest is forgotten first.
"""


class Session:
    """The session of one browser."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._expires = clock() + SECONDS
        self.ended = anyio.Event()
        """Event that ``Sessions.end`` sets, for example when the user signs out."""

    @property
    def expired(self) -> bool:
        """Whether the session is too old."""
        return self._expires <= self._clock()

    async def wait(self) -> None:
        """Wait until ``ended`` is set or the session is too old."""
        with anyio.move_on_after(self._expires - self._clock()):
            await self.ended.wait()


class Sessions:
    """All sessions, by their random ids.

    Sessions are kept only in memory. A restart ends all sessions, and nothing can restore a session
    after its user has signed out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_id: OrderedDict[str, Session] = OrderedDict()

    def begin(self) -> str:
        """Begin a session; return its id."""
        id = secrets.token_urlsafe(32)
        self._by_id[id] = Session(self._clock)
        while len(self._by_id) > MOST_SESSIONS:
            self.end(next(iter(self._by_id)))
        return id

    def find(self, id: str) -> Session | None:
        """Return the session; None if it has ended or never began."""
        session = self._by_id.get(id)
        if session and session.expired:
            self.end(id)
            return None
        return session

    def end(self, id: str) -> None:
        """End a session. Its id is not accepted any more."""
        if session := self._by_id.pop(id, None):
            session.ended.set()


class Failures:
    """Counter of failed sign-ins by address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """The number of failures and the time at which they are forgotten, by address."""

    def wait(self, address: str) -> float:
        """Return the seconds until this address may try again; 0 if it may try now."""
        count, until = self._by_address.get(network_of(address), (0, 0.0))
        return max(0.0, until - self._clock()) if count >= FAILURES else 0.0

    def add(self, address: str) -> None:
        """Count a failure."""
        network, now = network_of(address), self._clock()
        count, until = self._by_address.pop(network, (0, 0.0))
        self._by_address[network] = (count + 1 if until > now else 1, now + FAILURE_SECONDS)
        while len(self._by_address) > MOST_ADDRESSES:
            self._by_address.popitem(last=False)
