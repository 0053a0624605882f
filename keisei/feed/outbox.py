"""Carries events from the device thread to the event loop."""

import asyncio
import heapq
import threading
from collections import deque

from keisei.errors import OutboxOverflow
from keisei.events import Event

DROPPABLE = 256
"""Events that may be dropped and wait at most; a newer one pushes out the oldest."""
KEPT = 10_000
"""Events that must be kept and wait at most; one more is a failure."""

_Item = tuple[int, Event]
"""An event and its number in the order of all events."""


class Outbox:
    """A bounded queue into the event loop that never makes its writers wait.

    An event that may be dropped pushes out the oldest one of this kind; ``dropped`` counts them.
    The other events are never lost: if there is no room, the writer gets OutboxOverflow. At most
    one wake-up is on its way to the loop at a time. Asyncio runs its whole ready list in one turn,
    so a callback for each event would freeze the loop for seconds in a flood.
    """

    def __init__(self, *, droppable: int = DROPPABLE, kept: int = KEPT) -> None:
        """Make it on the loop that will drain it."""
        self.dropped = 0
        self._limit = kept
        self._kept: deque[_Item] = deque()
        self._loose: deque[_Item] = deque(maxlen=droppable)
        self._number = 0
        self._armed = False
        self._closed = False
        # Reentrant: garbage collection may start while a thread holds the lock, and a finaliser
        # that logs calls `emit` again. Each step below allows for that.
        self._lock = threading.RLock()
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()

    def emit(self, *events: Event, always: bool = False) -> None:
        """Hand over events. From any thread; events in one call wake the loop once.

        After ``close`` they are dropped and counted. With ``always`` the limit does not apply, for
        the last events of a run. Raises OutboxOverflow.
        """
        kept = [event.event for event in events if event.keep]
        with self._lock:
            if self._closed:
                self.dropped += len(events)
                return
            if kept and not always and len(self._kept) + len(kept) > self._limit:
                raise OutboxOverflow(f"the loop has not taken {self._limit} events: {kept[0]}")
            for event in events:
                self._append(event)
            wake, self._armed = not self._armed, True
        if wake:
            self._wake()

    def close(self) -> None:
        """End the stream after what it holds. From any thread; may be called again."""
        with self._lock:
            self._closed = True
        self._wake()

    async def drain(self) -> list[Event]:
        """Wait for events and return them in order; an empty list means the stream has ended."""
        while True:
            await self._ready.wait()
            kept, loose = deque[_Item](), deque[_Item](maxlen=self._loose.maxlen)
            with self._lock:
                closed = self._closed
                self._armed = False  # before the swap: an event that comes now wakes us again
                if not closed:
                    self._ready.clear()
                kept, self._kept = self._kept, kept
                loose, self._loose = self._loose, loose
            batch = [event for _, event in heapq.merge(kept, loose, key=_number)]
            if batch or closed:
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


def _number(item: _Item) -> int:
    return item[0]
