"""Events as objects, for the program that runs the training: ``Keisei.events()``."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from weakref import WeakSet

from keisei.events import Event, Failed, Reset, Topic

BUFFER = 256
"""Most events that wait for a reader."""


class Readers:
    """Hands each event to every reader at once. Loop only.

    A reader that falls ``buffer`` events behind loses the events that wait for it and gets a Reset.
    """

    def __init__(self, reset: Callable[[], Reset], *, buffer: int = BUFFER) -> None:
        """``reset()`` makes the event that says that events were lost."""
        self._reset = reset
        self._buffer = buffer
        self._readers: WeakSet[_Reader] = WeakSet()  # drops a reader with its iterator
        self._closed = False
        self._failed: Failed | None = None

    def publish(self, event: Event) -> None:
        """Hand an event to the readers of its topic. Failed goes to all, as their last event."""
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
        """End every reader after the events that wait for it. May be called again."""
        self._closed = True
        for reader in self._readers:
            reader.wake.set()

    def read(self, topics: Collection[Topic]) -> AsyncGenerator[Event, None]:
        """Return the events of ``topics`` from now on. They end with the run, or after Failed."""
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
