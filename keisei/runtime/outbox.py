"""Events on their way from the device thread to the loop."""

import asyncio
import heapq
import threading
from collections import deque

from keisei.events import Event
from keisei.runtime.errors import OutboxOverflow

DROPPABLE = 256
KEPT = 10_000


class Outbox:
    """A bounded pipe into the loop that never makes its writers wait.

    Events that may be dropped push out the oldest of their kind, and are counted in ``dropped``.
    The others are never lost: no room for one is an OutboxOverflow for the writer. However many
    events come, one wake-up at most is on its way to the loop (asyncio runs its whole ready list
    in one turn: a callback per event would freeze the loop for seconds in a flood).
    """

    def __init__(self, *, droppable: int = DROPPABLE, kept: int = KEPT) -> None:
        """On the loop that will drain it."""
        self.dropped = 0
        self._limit = kept
        self._kept: deque[tuple[int, Event]] = deque()
        self._loose: deque[tuple[int, Event]] = deque(maxlen=droppable)
        self._number = 0
        self._armed = False
        self._closed = False
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()

    def emit(self, event: Event, *, always: bool = False) -> None:
        """Hand over an event, from any thread. After ``close`` it is dropped and counted.

        ``always``: it finds room whatever waits (a run's last words). Raises OutboxOverflow.
        """
        with self._lock:
            if self._closed:
                self.dropped += 1
                return
            if event.keep and not always and len(self._kept) >= self._limit:
                raise OutboxOverflow(f"the loop has not taken {self._limit} events: {event.event}")
            self._append(event)
            wake, self._armed = not self._armed, True
        if wake:
            self._wake()

    def close(self) -> None:
        """End the stream after what it holds. From any thread, again if you like."""
        with self._lock:
            self._closed = True
        self._wake()

    async def drain(self) -> list[Event]:
        """What has come since, in order; waits for something. Empty: the stream has ended."""
        while True:
            await self._ready.wait()
            with self._lock:
                batch = [event for _, event in heapq.merge(self._kept, self._loose, key=_number)]
                self._kept.clear()
                self._loose.clear()
                self._armed = False
                if not self._closed:
                    self._ready.clear()
                if batch or self._closed:
                    return batch

    def _append(self, event: Event) -> None:
        box = self._kept if event.keep else self._loose
        self.dropped += len(box) == box.maxlen
        box.append((self._number, event))
        self._number += 1

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return


def _number(item: tuple[int, Event]) -> int:
    return item[0]
