"""Requests from the event loop to the device thread: commands, positions that want a move, stop."""

import asyncio
import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from anyio import from_thread
from numpy.typing import NDArray

from keisei.errors import InboxFull, NotRunning
from keisei.match_rules import MatchRules

INBOX = 8
"""Commands that may wait for the device thread."""
INFERENCE = 256
"""Positions that may wait for a move. A game has at most one here, so replies cannot overflow."""

T = TypeVar("T")


class Reply(Generic[T]):
    """The answer to a request: made and awaited on the loop, settled by the device thread."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self.loop.create_future()
        # A reply that nobody awaits is no mistake: an HTTP client only wants to know "accepted".
        self._future.add_done_callback(lambda f: f.cancelled() or f.exception())

    def __await__(self) -> Generator[Any, None, T]:
        # Shielded: a caller that gives up must not cancel the answer for the others.
        return asyncio.shield(self._future).__await__()

    @property
    def done(self) -> bool:
        """Whether it is settled. Loop only."""
        return self._future.done()

    def set(self, value: T) -> None:
        """Answer with a value. From any thread."""
        deliver([(self, value)])

    def fail(self, error: BaseException) -> None:
        """Answer with an exception. From any thread."""
        deliver([(self, error)])

    def settle(self, value: T | BaseException) -> None:
        """Answer with a value or an exception. Loop only."""
        if self._future.done():
            return
        if isinstance(value, BaseException):
            self._future.set_exception(value)
        else:
            self._future.set_result(value)


def deliver(answers: Iterable[tuple[Reply[Any], Any]]) -> None:
    """Settle several replies of one loop with a single wake-up. From any thread."""
    answers = list(answers)
    if not answers:
        return

    def settle() -> None:
        for reply, value in answers:
            reply.settle(value)

    try:
        answers[0][0].loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """Base class of commands to the device thread.

    A command is accepted when it is queued; ``finished`` is settled when it is done or refused.
    """

    finished: Reply[Any] = field(default_factory=Reply, init=False)


@dataclass(frozen=True, slots=True, eq=False)
class MoveRequest:
    """A position that wants a move of the network in training."""

    sfen: str
    greedy: bool
    answer: Reply[str | None] = field(default_factory=Reply)
    """The move in USI, or None if the game is over."""


@dataclass(frozen=True, slots=True, eq=False)
class PlyRequest:
    """A position of a match that wants a move of one of the networks loaded for matches."""

    network: int
    """Id of the network."""
    observation: NDArray[np.uint8]
    """[1, 131]"""
    mask: NDArray[np.uint64]
    """[1, 35]"""
    draw: float
    """The random number in [0, 1) to sample by."""
    rules: MatchRules
    """Rules of the match; they say how to choose."""
    answer: Reply[tuple[int, float]] = field(default_factory=Reply)
    """Action and value."""


class Mailbox:
    """Carries all requests from the loop to the device thread. Sending never blocks."""

    def __init__(self) -> None:
        self._commands: queue.Queue[Command] = queue.Queue(INBOX)
        self._positions: queue.Queue[MoveRequest | PlyRequest] = queue.Queue(INFERENCE)
        self._stop = threading.Event()
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._closed = False

    # ------------------------------------------------------------------ called on the loop
    def send(self, item: Command | MoveRequest | PlyRequest) -> None:
        """Queue a command or a position. Raises InboxFull, NotRunning."""
        box: queue.Queue[Any] = self._commands if isinstance(item, Command) else self._positions
        with self._lock:  # so that no item is queued after `close` has emptied the queues
            if self.closed:
                raise NotRunning("the run has ended")
            try:
                box.put_nowait(item)
            except queue.Full:
                raise InboxFull(f"{box.maxsize} requests already wait for the device") from None
        self._bell.set()

    def request_stop(self) -> None:
        """Ask the thread to end. From any thread; may be called again."""
        self._stop.set()
        self._bell.set()

    @property
    def stop_requested(self) -> bool:
        """Whether ``request_stop`` was called."""
        return self._stop.is_set()

    @property
    def closed(self) -> bool:
        """Whether requests are refused."""
        return self._closed or self._stop.is_set()

    # ------------------------------------------------------------------ called on the device thread
    def stopping(self) -> bool:
        """Return whether the thread must end.

        It must when stop was requested, when the task that hosts the thread is being cancelled, or
        when the program has ended without closing the run, as a notebook's kernel does.
        """
        if not threading.main_thread().is_alive():
            self._stop.set()
        if not self._stop.is_set():
            try:
                from_thread.check_cancelled()
            except asyncio.CancelledError:
                self._stop.set()
        return self._stop.is_set()

    def commands(self) -> list[Command]:
        """Remove and return all queued commands, the oldest first."""
        return _drain(self._commands)

    def positions(self) -> list[MoveRequest | PlyRequest]:
        """Remove and return all queued positions, the oldest first."""
        return _drain(self._positions)

    @property
    def has_positions(self) -> bool:
        """Whether a position waits for a move."""
        return not self._positions.empty()

    def wait(self, seconds: float) -> None:
        """Sleep until something is queued, stop is requested, or the time is up."""
        self._bell.wait(seconds)
        self._bell.clear()

    def close(self) -> None:
        """Refuse what still waits and everything that comes later. May be called again."""
        with self._lock:
            self._closed = True
        refused = NotRunning("the run ended before this was done")
        deliver((command.finished, refused) for command in self.commands())
        deliver((position.answer, refused) for position in self.positions())


def _drain(box: queue.Queue[T]) -> list[T]:
    items: list[T] = []
    while True:
        try:
            items.append(box.get_nowait())
        except queue.Empty:
            return items
