"""Gives events as objects to readers in the same program (``Keisei.events()``)."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from weakref import WeakSet

from keisei.events import Event, Failed, Reset, Topic

BUFFER = 256


class Readers:
    """Passes each event to every reader immediately. All calls must come from the event loop.

    A reader that is ``BUFFER`` events behind loses these events and gets a Reset instead.
    """

    def __init__(self, reset: Callable[[], Reset], *, buffer: int = BUFFER) -> None:
        """``reset()`` creates the event that reports lost events."""
        self._reset = reset
        self._buffer = buffer
        self._readers: WeakSet[_Reader] = WeakSet()  # forgets readers whose iterator was deleted
        self._closed = False
        self._failed: Failed | None = None

    def publish(self, event: Event) -> None:
        """Pass an event to the readers of the event's topic. Every reader ends after Failed."""
        if isinstance(event, Failed):
            self._failed = event
        for reader in self._readers:
            if event.topic in reader.topics or event is self._failed:
                if len(reader.waiting) >= self._buffer:
                    reader.waiting.clear()
                    reader.waiting.append(self._reset())
                reader.waiting.append(event)
                reader.wake.set()

    def close(self) -> None:
        """Let every reader end after its waiting events. Can be called more than once."""
        self._closed = True
        for reader in self._readers:
            reader.wake.set()

    def read(self, topics: Collection[Topic]) -> AsyncGenerator[Event, None]:
        """Yield the events of ``topics`` from now on, until the run ends or Failed arrives."""
        reader = _Reader(frozenset(topics))
        if self._failed:
            reader.waiting.append(self._failed)
        self._readers.add(reader)
        return self._events(reader)

    async def _events(self, reader: "_Reader") -> AsyncGenerator[Event, None]:
        while reader.waiting or not self._closed:
            if not reader.waiting:
                reader.wake.clear()
                await reader.wake.wait()
                continue
            event = reader.waiting.popleft()
            yield event
            if event is self._failed:
                return


class _Reader:
    def __init__(self, topics: frozenset[Topic]) -> None:
        self.topics = topics
        self.waiting: deque[Event] = deque()
        self.wake = asyncio.Event()
