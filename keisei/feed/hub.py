"""Server-sent events for any number of clients, from one ring of encoded events."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Literal

import anyio

from keisei.events import TOPICS, Board, Evaluation, Event, Reset, Status, Topic, dumps

RING = 8192
"""Events that a client can resume from."""
TICK = 0.25
"""Seconds between two chunks."""
BUDGET = 128
"""Most chunks a second to all clients together: with more than 32 clients, ticks take longer. A
chunk costs about 80 us of processor time, which training loses."""
GROUP = 8
"""Clients woken in one turn of the loop. 64 clients at once would block it for over 10 ms."""
DIGITS = 18
"""Most digits of an event's number; Python refuses to parse a number of thousands of digits."""
CHUNK = 512
"""Most events in one chunk, when a client catches up."""

Describe = Callable[[Literal["hello", "reset", "bye"]], Status]


class Hub:
    """Encodes each event once and lets every client read at its own pace. Loop only.

    A client is a cursor into the ring. A client that never reads costs nothing. If a client is so
    slow that the ring has passed its cursor, its stream ends with ``reset``; it can resume with the
    last id that it got. Every 250 ms, new events get their ids, ``<boot>-<number>``, and are sent
    as one chunk. With many clients this happens less often, but a change of the run's state is
    still sent within 250 ms. Only the newest board and the newest progress report of a tick are
    sent.
    """

    def __init__(
        self, describe: Describe, *, ring: int = RING, tick: float = TICK, budget: float = BUDGET
    ) -> None:
        """Make an empty hub. ``describe(kind)`` returns the run's status for a single client."""
        self.boot = secrets.token_hex(4)
        self.closed = False
        self._describe = describe
        self._tick = tick
        self._budget = budget
        self._urgent = asyncio.Event()
        self._pending: dict[object, Event] = {}
        self._ring: deque[tuple[Topic, bytes]] = deque(maxlen=ring)
        self._next = 1
        self._clients: dict[_Client, None] = {}

    @property
    def clients(self) -> int:
        """Number of open streams."""
        return len(self._clients)

    def publish(self, event: Event) -> None:
        """Send an event with the next tick. After ``close`` it is not sent."""
        key = _conflated(event) or object()
        self._pending.pop(key, None)
        self._pending[key] = event
        if isinstance(event, Status):
            self._urgent.set()

    async def run(self) -> None:
        """Send new events, tick by tick, until closed."""
        while not self.closed:
            await anyio.sleep(self._tick)
            if (longer := self.clients / self._budget - self._tick) > 0:
                with anyio.move_on_after(longer):
                    await self._urgent.wait()
            self._urgent.clear()
            if self._flush():
                await self._wake()

    def close(self) -> None:
        """Send pending events and end every stream with ``bye``. May be called again."""
        closed, self.closed = self.closed, True
        try:
            if not closed:
                self._flush()
        finally:
            for client in self._clients:
                client.wake.set()

    def dismiss(self) -> None:
        """Send pending events and end the open streams with ``bye``. New streams may start."""
        self._flush()
        for client in self._clients:
            client.dismissed = True
            client.wake.set()

    @contextmanager
    def subscribe(
        self, topics: Collection[Topic], after: str | None = None
    ) -> Iterator[AsyncGenerator[bytes, None]]:
        """Open a stream; give its chunks, from the event after id ``after``, or from now on.

        The stream begins with ``hello``. If the events after ``after`` are no longer in the ring,
        or ``after`` is an id of another process, ``reset`` follows and the stream goes on with new
        events. Without ``topics`` the client gets all topics.
        """
        client = _Client(frozenset(topics) or frozenset(TOPICS), self._next)
        lost = False
        if after is not None:
            boot, _, number = after.rpartition("-")
            known = boot == self.boot and number.isdecimal() and len(number) <= DIGITS
            client.cursor = int(number) + 1 if known else 0
            lost = not self._oldest <= client.cursor <= self._next
            client.cursor = self._next if lost else client.cursor
        self._clients[client] = None
        try:
            yield self._chunks(client, lost=lost)
        finally:
            del self._clients[client]

    async def _chunks(self, client: "_Client", *, lost: bool) -> AsyncGenerator[bytes, None]:
        opening = self._own("hello", client.cursor - 1)
        yield opening + self._reset() if lost else opening
        while True:
            client.wake.clear()
            if client.cursor < self._oldest:
                yield self._reset()
                return
            chunk = self._read(client)
            if chunk:
                yield chunk
            elif client.cursor < self._next:
                continue  # those events have none of this client's topics
            elif self.closed or client.dismissed:
                yield self._own("bye")
                return
            else:
                await client.wake.wait()

    def _read(self, client: "_Client") -> bytes:
        low = client.cursor - self._oldest
        high = min(low + CHUNK, len(self._ring))
        client.cursor += high - low
        stretch = (self._ring[i] for i in range(low, high))
        return b"".join(frame for topic, frame in stretch if topic in client.topics)

    def _reset(self) -> bytes:
        now = self._describe("reset")
        oldest = f"{self.boot}-{self._oldest}"
        reset = Reset(
            run=now.run,
            step=now.step,
            time=now.time,
            state=now.state,
            message=now.message,
            oldest=oldest,
        )
        return _frame(reset, f"{self.boot}-{self._next - 1}")

    def _own(self, kind: Literal["hello", "bye"], number: int | None = None) -> bytes:
        return _frame(self._describe(kind), None if number is None else f"{self.boot}-{number}")

    @property
    def _oldest(self) -> int:
        return self._next - len(self._ring)

    def _flush(self) -> bool:
        flushed = bool(self._pending)
        while self._pending:  # remove first: an event that cannot be encoded must not stay
            event = self._pending.pop(next(iter(self._pending)))
            self._ring.append((event.topic, _frame(event, f"{self.boot}-{self._next}")))
            self._next += 1
        return flushed

    async def _wake(self) -> None:
        for number, client in enumerate(list(self._clients)):
            client.wake.set()
            if number % GROUP == GROUP - 1:
                await anyio.sleep(0.002)


class _Client:
    def __init__(self, topics: frozenset[Topic], cursor: int) -> None:
        self.topics = topics
        self.cursor = cursor
        self.dismissed = False
        self.wake = asyncio.Event()


def _conflated(event: Event) -> object | None:
    """Return a key if a newer event with the same key replaces this one in a tick, else None."""
    if isinstance(event, Board):
        return Board
    if isinstance(event, Evaluation) and event.state == "running":
        return event.id
    return None


def _frame(event: Event, id: str | None) -> bytes:
    data = dumps(event.to_dict(), default=str, separators=(",", ":"))
    head = f"id: {id}\r\n" if id else ""
    return f"{head}event: {event.event}\r\ndata: {data}\r\n\r\n".encode()
