"""What the loop asks of the device thread: commands, positions wanting a move, stop."""

import asyncio
import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from anyio import from_thread
from numpy.typing import NDArray

from keisei.errors import InboxFull, NotRunning

INBOX = 8
"""Commands that may wait for the device thread."""
INFERENCE = 256
"""Positions that may wait for a move. A game has at most one here, so replies cannot overflow."""

T = TypeVar("T")


class Reply(Generic[T]):
    """The far end of a request: made and awaited on the loop, settled by the device thread."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self.loop.create_future()
        # A reply nobody awaits is no mistake: an HTTP client only wants to know "accepted".
        self._future.add_done_callback(lambda f: f.cancelled() or f.exception())

    def __await__(self) -> Generator[Any, None, T]:
        # Shielded: a caller that gives up must not take the answer from the others.
        return asyncio.shield(self._future).__await__()

    @property
    def done(self) -> bool:
        """Whether it is settled. On the loop."""
        return self._future.done()

    def set(self, value: T) -> None:
        """Answer. From any thread."""
        deliver([(self, value)])

    def fail(self, error: BaseException) -> None:
        """Answer with an exception. From any thread."""
        deliver([(self, error)])

    def settle(self, value: T | BaseException) -> None:
        """As ``set`` or ``fail``, on the loop only."""
        if self._future.done():
            return
        if isinstance(value, BaseException):
            self._future.set_exception(value)
        else:
            self._future.set_result(value)


def deliver(answers: Iterable[tuple[Reply[Any], Any]]) -> None:
    """Settle replies of one loop with a single wake-up, from any thread."""
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
    """Something for the device thread to do. Queued is accepted; ``finished`` is its other end."""

    kind: Literal["pause", "resume", "checkpoint", "open", "close", "play", "end"]
    payload: Any = None
    """Of ``open``: the source of a network; ``close``: its id; ``play``, ``end``: a job."""
    finished: Reply[Any] = field(default_factory=Reply)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A position wanting the live network's move."""

    sfen: str
    greedy: bool
    answer: Reply[str | None] = field(default_factory=Reply)
    """The move in USI, or None if the game is over."""


@dataclass(frozen=True, slots=True, eq=False)
class Ply:
    """A position of a game wanting the move of one of the networks that play matches."""

    network: int
    """Its id."""
    observation: NDArray[np.uint8]
    """[1, 131]"""
    mask: NDArray[np.uint64]
    """[1, 35]"""
    draw: float
    """In [0, 1): the random number to sample by."""
    greedy: bool
    answer: Reply[tuple[int, float]] = field(default_factory=Reply)
    """Action and value."""


class Mailbox:
    """Everything that goes from the loop to the device thread. Putting never blocks."""

    def __init__(self) -> None:
        self._commands: queue.Queue[Command] = queue.Queue(INBOX)
        self._questions: queue.Queue[Question | Ply] = queue.Queue(INFERENCE)
        self._stop = threading.Event()
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._closed = False

    # ------------------------------------------------------------------ the loop's side
    def send(self, item: Command | Question | Ply) -> None:
        """Queue a command or a question. Raises InboxFull, NotRunning."""
        box: queue.Queue[Any] = self._commands if isinstance(item, Command) else self._questions
        with self._lock:  # else an item could slip in behind the last look
            if self.closed:
                raise NotRunning("the run has ended")
            try:
                box.put_nowait(item)
            except queue.Full:
                raise InboxFull(f"{box.maxsize} requests already wait for the device") from None
        self._bell.set()

    def request_stop(self) -> None:
        """Ask the thread to end. From any thread, again if you like."""
        self._stop.set()
        self._bell.set()

    @property
    def stop_requested(self) -> bool:
        """Whether ``request_stop`` was called."""
        return self._stop.is_set()

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closed or self._stop.is_set()

    # ------------------------------------------------------------------ the thread's side
    def stopping(self) -> bool:
        """Whether to end: asked to, or the task that hosts the thread is being cancelled, or the
        program has ended without closing the run, as a notebook's kernel does.
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
        """All that were queued since the last look."""
        return _take(self._commands)

    def questions(self) -> list[Question | Ply]:
        """All that were queued since the last look."""
        return _take(self._questions)

    @property
    def asked(self) -> bool:
        """Whether a question waits."""
        return not self._questions.empty()

    def wait(self, seconds: float) -> None:
        """Sleep until something is queued, stop is asked for, or the time is up."""
        self._bell.wait(seconds)
        self._bell.clear()

    def close(self) -> None:
        """Take nothing more and refuse what still waits. May be called again."""
        with self._lock:
            self._closed = True
        refused = NotRunning("the run ended before this was done")
        deliver((command.finished, refused) for command in self.commands())
        deliver((question.answer, refused) for question in self.questions())


def _take(box: queue.Queue[T]) -> list[T]:
    taken: list[T] = []
    while True:
        try:
            taken.append(box.get_nowait())
        except queue.Empty:
            return taken
