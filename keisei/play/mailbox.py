"""Carries commands, positions and stop requests from the event loop to the device thread."""

import asyncio
import math
import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from anyio import from_thread
from numpy.typing import NDArray

from keisei.errors import InboxFull, NotRunning
from keisei.match_rules import Choice, Mates
from keisei.shogi import Position

if TYPE_CHECKING:  # torch would be loaded
    from keisei.play.match_trees import GameTree
    from keisei.search import Search

INBOX = 8
"""Maximum number of commands that wait for the device thread."""
INFERENCE = 256
"""Maximum number of positions that wait for a move.

A game of a match with engines has at most one such position.
"""

LIVE = -1
"""Id of the network in training."""

T = TypeVar("T")


class Reply(Generic[T]):
    """The future answer to a request.

    The reply is created and awaited on the event loop; the device thread sets the answer.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self.loop.create_future()
        # Reading the exception prevents asyncio from logging it. Often no code awaits this reply,
        # because the web service answers as soon as the command is accepted.
        self._future.add_done_callback(lambda f: f.cancelled() or f.exception())

    def __await__(self) -> Generator[Any, None, T]:
        # Without the shield, a cancelled caller would cancel the answer for other callers too.
        return asyncio.shield(self._future).__await__()

    @property
    def done(self) -> bool:
        """Whether the answer is set. Event loop only."""
        return self._future.done()

    def set(self, value: T) -> None:
        """Set the answer to a value. May be called from any thread."""
        deliver([(self, value)])

    def fail(self, error: BaseException) -> None:
        """Set the answer to an exception. May be called from any thread."""
        deliver([(self, error)])

    def settle(self, value: T | BaseException) -> None:
        """Set the answer to a value or an exception, unless it is already set. Event loop only."""
        if self._future.done():
            return
        if isinstance(value, BaseException):
            self._future.set_exception(value)
        else:
            self._future.set_result(value)


def deliver(answers: Iterable[tuple[Reply[Any], Any]]) -> None:
    """Set the answers of several replies of one event loop; wake this loop once. Thread-safe."""
    answers = list(answers)
    if not answers:
        return

    def settle() -> None:
        for reply, value in answers:
            reply.settle(value)

    try:
        answers[0][0].loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop is closed, so nobody waits for the answers
        return


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """Base class of commands to the device thread.

    A command is accepted when it enters the queue. ``finished`` gets its answer when the
    command has been carried out or refused.
    """

    finished: Reply[Any] = field(default_factory=Reply, init=False)


@dataclass(frozen=True, slots=True)
class ChosenMove:
    """A network's answer to a position.

    If no move is legal, or if the side to move declares a win, the network is not asked.
    """

    move: str | None = None
    """The move in USI notation; None if the network was not asked."""
    declares_win: bool = False
    """Whether the side to move declares a win instead of making a move."""
    value: float | None = None
    """P(win) - P(loss) of the side to move, from -1 to 1; None if the network was not asked.

    1 if ``move`` begins a forced mate."""
    top_moves: tuple[tuple[str, float], ...] = ()
    """The network's most probable moves as (USI, probability), the most probable move first."""
    mate: int | None = None
    """Number of moves, counting both sides, of the forced mate that ``move`` begins: 1 or 3.

    None if no forced mate was looked for or found."""
    visits: tuple[tuple[str, int], ...] = ()
    """The most visited moves of the tree search as (USI, visits); empty without a search."""
    line: tuple[str, ...] = ()
    """Principal variation of the tree search, in USI; empty without a search."""
    player: str = ""
    """Name of the network, ``<run>@<step>``; empty if the network was asked by its own owner."""

    @property
    def usi(self) -> str | None:
        """The move as engines write it: ``win`` for a declaration; None if no move is legal."""
        return "win" if self.declares_win else self.move


@dataclass(frozen=True, slots=True, eq=False)
class MoveRequest:
    """A request for a move of the network in training, or of a network that was loaded."""

    position: Position
    greedy: bool
    mates: Mates = 1
    """Longest forced mate that is played (see ``MatchRules.mates``)."""
    temperature: float = 1.0
    """Temperature at which the move is sampled, unless ``greedy``."""
    network: int = LIVE
    """Id of the network."""
    max_ply: int | None = None
    """Maximum ply of the network's training games; None: as in the run in progress."""
    search: "Search | None" = None
    """A search in whose tree 0 the position is planted; None: the network alone chooses."""
    deadline: float = math.inf
    """Time (``time.monotonic``) at which the search ends."""
    answer: Reply[ChosenMove] = field(default_factory=Reply)


@dataclass(frozen=True, slots=True, eq=False)
class PlyRequest:
    """A request for a move of a network that was loaded for matches."""

    network: int
    """Id of the network."""
    observation: NDArray[np.uint8]
    """[1, 131] Observation of the position."""
    mask: NDArray[np.uint64]
    """[1, 35] Bit mask of the legal actions."""
    draw: float
    """Random number in [0, 1) with which a move is sampled."""
    choice: Choice
    """How a move is chosen."""
    tree: "GameTree | None" = None
    """A tree whose root is the position; None: the network alone chooses."""
    answer: Reply[tuple[int, float]] = field(default_factory=Reply)
    """Reply with the chosen action and the value of the position."""


class Mailbox:
    """Carries all requests from the event loop to the device thread. Sending never blocks."""

    def __init__(self) -> None:
        self._commands: queue.Queue[Command] = queue.Queue(INBOX)
        self._positions: queue.Queue[MoveRequest | PlyRequest] = queue.Queue(INFERENCE)
        self._stop = threading.Event()
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._closed = False

    # ------------------------------------------------------------------ called on the loop
    def send(self, item: Command | MoveRequest | PlyRequest) -> None:
        """Put a request into one of the two queues. Raises InboxFull, NotRunning."""
        box: queue.Queue[Any] = self._commands if isinstance(item, Command) else self._positions
        with self._lock:  # an item that enters after `close` would get no answer
            if self.closed:
                raise NotRunning("the run has ended")
            try:
                box.put_nowait(item)
            except queue.Full:
                raise InboxFull(
                    f"{box.maxsize} requests already wait for the device; try again in a moment"
                ) from None
        self._bell.set()

    def request_stop(self) -> None:
        """Ask the device thread to end. May be called from any thread, and more than once."""
        self._stop.set()
        self._bell.set()

    @property
    def stop_requested(self) -> bool:
        """Whether ``request_stop`` was called."""
        return self._stop.is_set()

    @property
    def closed(self) -> bool:
        """Whether new requests are refused."""
        return self._closed or self._stop.is_set()

    # ------------------------------------------------------------------ called on the device thread
    def stopping(self) -> bool:
        """Return whether the device thread must end.

        The thread must end if a stop was requested, or if the task that waits for the thread is
        cancelled. The thread must also end if the program ends without closing the run. For
        example, a notebook's kernel can end in this way.
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
        """Remove all commands from the queue and return them, oldest first."""
        return _drain(self._commands)

    def positions(self) -> list[MoveRequest | PlyRequest]:
        """Remove all positions from the queue and return them, oldest first."""
        return _drain(self._positions)

    @property
    def has_positions(self) -> bool:
        """Whether a position waits for a move."""
        return not self._positions.empty()

    def wait(self, seconds: float) -> None:
        """Sleep until a request arrives, a stop is requested, or ``seconds`` have passed."""
        self._bell.wait(seconds)
        self._bell.clear()

    def close(self) -> None:
        """Refuse all waiting and all later requests. May be called more than once."""
        with self._lock:
            self._closed = True
        refused = NotRunning("the run ended before the request was carried out")
        deliver((command.finished, refused) for command in self.commands())
        deliver((position.answer, refused) for position in self.positions())


def _drain(box: queue.Queue[T]) -> list[T]:
    items: list[T] = []
    while True:
        try:
            items.append(box.get_nowait())
        except queue.Empty:
            return items
