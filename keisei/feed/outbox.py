"""Carries events from the device thread to the event loop."""

import asyncio
import heapq
import threading
from collections import deque

from keisei.errors import OutboxOverflow
from keisei.events import Event

DROPPABLE = 256
"""Maximum number of waiting droppable events.

A further droppable event replaces the oldest droppable event.
"""
KEPT = 10_000
"""Maximum number of waiting events that must not be dropped. A further event is refused."""

_Item = tuple[int, Event]
"""An event and its sequence number among all events."""


class Outbox:
    """A bounded queue of events for the event loop. Writers never wait.

    If too many droppable events wait, a new droppable event replaces the oldest droppable event;
    ``dropped`` counts the lost events. Before ``close``, an event that must be kept is never
    dropped: if the queue has no room for such an event, ``emit`` raises OutboxOverflow.

    At most one wake-up of the loop is pending at a time. A callback for each event could freeze the
    loop for seconds, because asyncio runs all waiting callbacks in one iteration of the loop.
    """

    def __init__(self, *, droppable: int = DROPPABLE, kept: int = KEPT) -> None:
        """Create the outbox on the event loop that will call ``drain``."""
        self.dropped = 0
        self._limit = kept
        self._kept: deque[_Item] = deque()
        self._loose: deque[_Item] = deque(maxlen=droppable)
        self._number = 0
        self._armed = False
        self._closed = False
        # A lock that is not reentrant could deadlock. Garbage collection can start while a thread
        # has the lock, and a finaliser that logs then calls `emit` in the same thread.
        self._lock = threading.RLock()
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()

    def emit(self, *events: Event, always: bool = False) -> None:
        """Add events. Can be called from any thread. A call wakes the loop at most once.

        After ``close``, events are dropped and counted. Raises OutboxOverflow if the queue has no
        room for an event that must not be dropped. ``always`` lifts this limit, for example for a
        run's last events.
        """
        kept = [event.event for event in events if event.keep]
        with self._lock:
            if self._closed:
                self.dropped += len(events)
                return
            if kept and not always and len(self._kept) + len(kept) > self._limit:
                raise OutboxOverflow(
                    f"{kept[0]}: no room (limit {self._limit} events); the event loop is too slow"
                )
            for event in events:
                self._append(event)
            wake, self._armed = not self._armed, True
        if wake:
            self._wake()

    def close(self) -> None:
        """Accept no more events; ``drain`` still returns the waiting events.

        Can be called from any thread, and more than once.
        """
        with self._lock:
            self._closed = True
        self._wake()

    async def drain(self) -> list[Event]:
        """Wait for events and return them, oldest first. After the last event, return []."""
        while True:
            await self._ready.wait()
            kept, loose = deque[_Item](), deque[_Item](maxlen=self._loose.maxlen)
            with self._lock:
                closed = self._closed
                self._armed = False  # before the swap, so that a later event wakes the loop again
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
        except RuntimeError:  # the loop is closed, so nobody reads the events
            return


def _number(item: _Item) -> int:
    return item[0]
