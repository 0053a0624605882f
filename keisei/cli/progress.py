"""Print the progress of a run as a live panel, text lines or JSON lines."""

import json
import math
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from anyio import CapacityLimiter, from_thread, to_thread

from keisei.cli import event_text
from keisei.cli.forecast import Forecast
from keisei.cli.panel import Panel
from keisei.cli.streams import PLAIN_SECONDS, OutputLost, drop_output
from keisei.events import Event, Iteration

if TYPE_CHECKING:
    from keisei.config import Settings

HURRY_SECONDS = 2
"""Longest time in seconds for which a stop waits for the reader of a full pipe."""


class ProgressTable:
    """A sink that prints a run's events, as JSON on stdout or as text on stderr.

    The sink prints in a thread, so that training goes on even if stdout or stderr is a full pipe
    without a reader.
    """

    name = "progress"

    def __init__(
        self,
        settings: "Callable[[], Settings]",
        *,
        address: str = "",
        as_json: bool = False,
        quiet: bool = False,
        on_broken_pipe: Callable[[], None] = lambda: None,
    ) -> None:
        """Store the callbacks, and choose panel, text lines or JSON lines.

        ``quiet``: whether to print nothing on stderr, because the log's JSON lines go there.

        ``settings`` returns the run's settings. ``settings`` is called only after the run has been
        opened, because a resumed run has its own settings. ``address``: the page's URL, for the
        panel's first line. ``on_broken_pipe`` is called on the event loop when the program that
        read the pipe has ended, for example ``head``. After that, no more events are printed. If
        the disk is full, no more events are printed either, but ``on_broken_pipe`` is not called.
        """
        self._stream = sys.stdout if as_json else sys.stderr
        self._on_broken_pipe = on_broken_pipe
        self._limiter = CapacityLimiter(1)
        self._give_up = math.inf
        self._view = _view(settings, address, as_json=as_json, quiet=quiet)
        self.lost: OutputLost | None = None
        """The error that ended the printing of events; None if there was no such error."""

    def hurry(self) -> None:
        """Limit the wait for a full pipe to ``HURRY_SECONDS`` from now. Call this at a stop."""
        self._give_up = time.monotonic() + HURRY_SECONDS

    async def write(self, events: Sequence[Event]) -> None:
        """Print the events, except boards."""
        await self._call(partial(self._show, events))

    async def close(self) -> None:
        """Restore the terminal."""
        await self._call(self._view.close)

    async def _call(self, function: Callable[[], None]) -> None:
        try:
            await to_thread.run_sync(function, limiter=self._limiter)
        except BrokenPipeError:
            drop_output(self._stream)
            self._on_broken_pipe()
        except OutputLost as error:
            drop_output(self._stream)
            self.lost = error
            print(f"keisei: {error}: no more events are printed", file=sys.stderr)

    def _show(self, events: Sequence[Event]) -> None:
        room = select.poll()
        room.register(self._stream, select.POLLOUT)
        for event in events:
            if event.topic != "board":
                while not room.poll(200):  # milliseconds
                    from_thread.check_cancelled()  # raises if the run no longer waits for this thread
                    if time.monotonic() > self._give_up:
                        return
                self._view.show(event)


class _View(Protocol):
    def show(self, event: Event) -> None: ...
    def close(self) -> None: ...


def _view(settings: "Callable[[], Settings]", address: str, *, as_json: bool, quiet: bool) -> _View:
    if as_json:
        return _Json()
    if quiet:
        return _Nothing()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return Panel(settings, address)
    return _Lines(settings)


class _Nothing:
    """Prints nothing."""

    def show(self, event: Event) -> None:
        """Ignore the event."""

    def close(self) -> None:
        """Do nothing, because there is nothing to release."""


class _Json:
    """Prints JSON lines."""

    def show(self, event: Event) -> None:
        """Print the event."""
        line = {"event": event.event, "topic": event.topic, **event.to_dict()}
        print(json.dumps(line), flush=True)

    def close(self) -> None:
        """Do nothing, because there is nothing to release."""


class _Lines:
    """Prints text lines, for a log file or a pipe."""

    def __init__(self, settings: "Callable[[], Settings]") -> None:
        self._forecast = Forecast(settings)
        self._next = 0.0

    def close(self) -> None:
        """Do nothing, because there is nothing to release."""

    def show(self, event: Event) -> None:
        """Print the event if there is a text for it.

        An iteration is not printed if it ends less than ``PLAIN_SECONDS`` after the last printed
        iteration. But an iteration that reaches the run's limit is always printed.
        """
        text = event_text.notice(event)
        if isinstance(event, Iteration):
            self._forecast.see(event)
            if event.time < self._next and self._forecast.share != 1:
                return
            self._next = event.time + PLAIN_SECONDS
            text = "  ".join(self._figures(event))
        if text:
            clock = time.strftime("%H:%M:%S", time.localtime(event.time))
            print(f"{clock}  step {event.step:>11,}  {text}", file=sys.stderr, flush=True)

    def _figures(self, event: Iteration) -> list[str]:
        share, left = self._forecast.share, self._forecast.seconds_left
        done = [] if share is None else [f"{share:4.0%}"]
        done += [] if left is None else [f"{event_text.duration(left)} left"]
        speed, numbers = event_text.speed(event.values), event_text.figures(event.values)
        return [*done, f"iteration {event.iteration}", *speed, *numbers]
