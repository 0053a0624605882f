"""Sends encoded events from one ring buffer to any number of clients (server-sent events)."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Literal

import anyio

from keisei.events import TOPICS, Board, Evaluation, Event, Reset, Status, Topic, dumps

RING = 8192
TICK = 0.25
BUDGET = 128
"""Maximum number of chunks per second for all clients together.

With more than 32 clients, the time between two ticks is therefore longer than ``TICK``. Each chunk
takes about 80 us of processor time away from training.
"""
GROUP = 8
"""Number of clients that are woken at once. Waking 64 clients blocks the loop for over 10 ms."""
DIGITS = 18
"""Maximum number of digits after the ``-`` of an event id.

``int`` raises ValueError for thousands of digits.
"""
CHUNK = 512
"""Maximum number of events in one chunk. Only clients that are far behind get so many events."""

Describe = Callable[[Literal["hello", "reset", "bye"]], Status]


class Hub:
    """Encodes each event once and lets every client read at its own pace.

    All calls must come from the event loop.

    Each client has a cursor into a ring buffer, so a slow client needs no more memory than a fast
    client. If the buffer has overwritten the event at a client's cursor, the client gets ``reset``
    and the stream ends. The client can reconnect with the id of the last event that it received.

    Every 250 ms, the new events get their ids, ``<boot>-<number>``, and are sent as one chunk. With
    many clients, this interval (a tick) is longer, unless the state of the run has changed. If
    several boards arrive in one tick, only the newest board is sent. If several progress reports of
    one evaluation arrive in one tick, only the newest report is sent.
    """

    def __init__(
        self, describe: Describe, *, ring: int = RING, tick: float = TICK, budget: float = BUDGET
    ) -> None:
        """``describe(kind)`` creates the event ``hello``, ``reset`` or ``bye`` for one client."""
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
        """Send an event at the next tick. Events after ``close`` reach no client."""
        key = _conflated(event) or object()
        self._pending.pop(key, None)
        self._pending[key] = event
        if isinstance(event, Status):
            self._urgent.set()

    async def run(self) -> None:
        """Send the new events at every tick, until the hub is closed."""
        while not self.closed:
            await anyio.sleep(self._tick)
            if (longer := self.clients / self._budget - self._tick) > 0:
                with anyio.move_on_after(longer):
                    await self._urgent.wait()
            self._urgent.clear()
            if self._flush():
                await self._wake()

    def close(self) -> None:
        """Send the pending events and end every stream with ``bye``. Can be called repeatedly."""
        closed, self.closed = self.closed, True
        try:
            if not closed:
                self._flush()
        finally:
            for client in self._clients:
                client.wake.set()

    def dismiss(self) -> None:
        """Send the pending events and end all open streams with ``bye``.

        New streams can still be opened.
        """
        self._flush()
        for client in self._clients:
            client.dismissed = True
            client.wake.set()

    @contextmanager
    def subscribe(
        self, topics: Collection[Topic], after: str | None = None
    ) -> Iterator[AsyncGenerator[bytes, None]]:
        """Open a stream of chunks that continues after the event with id ``after``.

        Without ``after``, the stream contains only new events. The first event is always ``hello``.
        If the ring buffer has lost an event that came after ``after``, the stream goes on with
        ``reset`` and then contains only new events. The same happens if the id ``after`` comes from
        an earlier process of the run.
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
                continue  # the client did not subscribe to the topics of these events
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
        while self._pending:  # remove an event first: a faulty event must not be tried again
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
    """Return a key if a newer event with the same key can replace this event, else None.

    Lifecycle events, metrics, games and alerts are never replaced.
    """
    if isinstance(event, Board):
        return Board
    if isinstance(event, Evaluation) and event.state == "running":
        return event.id
    return None


def _frame(event: Event, id: str | None) -> bytes:
    data = dumps(event.to_dict(), default=str, separators=(",", ":"))
    head = f"id: {id}\r\n" if id else ""
    return f"{head}event: {event.event}\r\ndata: {data}\r\n\r\n".encode()
