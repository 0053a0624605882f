"""Callbacks: hooks that a run calls on the event loop when something has happened."""

import time
from collections.abc import Awaitable, Sequence
from inspect import isawaitable
from pathlib import Path

from keisei.events import EVALUATION_ENDED, Evaluation, Event, Game, Iteration, Level, Status
from keisei.feed.supervise import Report, contained, tell

SLOW_SECONDS = 0.1
"""If a hook blocks the event loop for more seconds than this, one alert for the hook is sent."""
ENDS = {"stopped", "finished", "failed"}


class Callback:
    """Base class of callbacks. Override the hooks that you need; they may be ``async``.

    A run calls the hooks on its event loop, one at a time and in the order of the events. A
    hook's first exception of each class causes an alert. No exception of a hook ends the run. A
    hook must not block; use ``async`` hooks, or ``anyio.to_thread``, for slow work.
    """

    def on_start(self, event: Status) -> Awaitable[None] | None:
        """Called when the run has been opened, before the network is compiled."""

    def on_iteration(self, event: Iteration) -> Awaitable[None] | None:
        """Called after each iteration, with its metrics in ``event.values``."""

    def on_game(self, event: Game) -> Awaitable[None] | None:
        """Called after each self-play game."""

    def on_checkpoint(self, event: Status, path: Path) -> Awaitable[None] | None:
        """Called when a checkpoint has been saved in the folder ``path``."""

    def on_evaluation(self, event: Evaluation) -> Awaitable[None] | None:
        """Called when an evaluation has ended. ``event.state`` says how the evaluation ended."""

    def on_end(self, event: Status) -> Awaitable[None] | None:
        """Called when training has ended. ``event.kind`` is stopped, finished or failed."""


class CallbackSink:
    """A sink that calls the hooks of a callback."""

    def __init__(self, name: str, callback: Callback, report: Report) -> None:
        """``report`` sends alerts. Each pair of a hook and an exception class gets one alert."""
        self.name = f"callback {name}"
        self.failures = 0
        """Number of calls of hooks that raised an exception."""
        self._callback, self._report = callback, report
        self._told: set[tuple[str, str]] = set()

    async def write(self, events: Sequence[Event]) -> None:
        """For each event that has a hook, call the hook. Never raises an exception of a hook."""
        for event in events:
            if call := _call_for(event):
                await self._call(*call)

    async def close(self) -> None:
        """Do nothing, because a callback has no resources to release."""

    async def _call(self, hook: str, arguments: tuple[object, ...]) -> None:
        began = time.perf_counter()
        try:
            with contained():
                answer = getattr(self._callback, hook)(*arguments)
                held = time.perf_counter() - began
                if isawaitable(answer):
                    await answer
        except Exception as error:  # noqa: BLE001 (no error of a hook may reach training)
            self.failures += 1
            text = f"{hook} raised {type(error).__name__}: {error}; repeats send no alert"
            self._tell(hook, type(error).__name__, "error", text)
        else:
            if held > SLOW_SECONDS:
                text = f"{hook} blocked the event loop for {held:.2f} s: use async or a thread"
                self._tell(hook, "slow", "warning", text)

    def _tell(self, hook: str, kind: str, level: Level, text: str) -> None:
        """Send an alert if it is the first alert of this kind for this hook."""
        if (hook, kind) not in self._told:
            self._told.add((hook, kind))
            tell(self._report, self.name, level, text)


def _call_for(event: Event) -> tuple[str, tuple[object, ...]] | None:
    """Return the name of the hook for an event, and the hook's arguments."""
    match event:
        case Iteration():
            return "on_iteration", (event,)
        case Game():
            return "on_game", (event,)
        case Evaluation() if event.state in EVALUATION_ENDED:
            return "on_evaluation", (event,)
        case Status(kind="started"):
            return "on_start", (event,)
        case Status(kind="checkpoint"):
            return "on_checkpoint", (event, Path(event.message))
        case Status() if event.kind in ENDS:
            return "on_end", (event,)
    return None
