"""Print the progress of a run as a live panel, text lines or JSON lines."""

import json
import math
import select
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from anyio import CapacityLimiter, from_thread, to_thread

from keisei.cli.streams import OutputLost, drop_output
from keisei.events import Alert, Evaluation, Event, Failed, Iteration, Status
from keisei.log import escape

if TYPE_CHECKING:
    from keisei.config import Settings

PLAIN_SECONDS = 10
"""Smallest number of seconds between two text lines of metrics. More lines would flood stderr."""

HURRY_SECONDS = 2
"""Longest time in seconds for which a stop waits for the reader of a full pipe."""

_SHOWN = (
    ("loss policy", "train/loss_policy", "{:.3f}"),
    ("value", "train/loss_value", "{:.3f}"),
    ("entropy", "train/entropy", "{:.2f}"),
    ("kl", "train/kl", "{:.4f}"),
    ("length", "games/length", "{:.0f}"),
    ("decisive", "games/decisive", "{:.0%}"),
)

_WORDS = {
    "compiling": "compiling; about fifteen seconds the first time",
    "checkpoint": "checkpoint saved",  # without the event's message, which is a path
}


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
        as_json: bool = False,
        quiet: bool = False,
        on_broken_pipe: Callable[[], None] = lambda: None,
    ) -> None:
        """Store the callbacks, and choose panel, text lines or JSON lines.

        ``quiet``: whether to print nothing on stderr, because the log's JSON lines go there.

        ``settings`` returns the run's settings. This function is called only when the run is open,
        because a resumed run has its own settings. ``on_broken_pipe`` is called on the event loop
        when the program that read the pipe has ended, for example ``head``. After that, no more
        events are printed. If the disk is full, no more events are printed either, but
        ``on_broken_pipe`` is not called.
        """
        self._stream = sys.stdout if as_json else sys.stderr
        self._on_broken_pipe = on_broken_pipe
        self._limiter = CapacityLimiter(1)
        self._give_up = math.inf
        self._view = _view(settings, as_json=as_json, quiet=quiet)
        self.lost: OutputLost | None = None
        """The error that ended the printing of events; None if there was no such error."""

    def hurry(self) -> None:
        """When a stop begins, limit the wait for a full pipe to ``HURRY_SECONDS`` from now."""
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
                    from_thread.check_cancelled()  # raises if the run no longer waits
                    if time.monotonic() > self._give_up:
                        return
                self._view.show(event)


class _View(Protocol):
    def show(self, event: Event) -> None: ...
    def close(self) -> None: ...


def _view(settings: "Callable[[], Settings]", *, as_json: bool, quiet: bool) -> _View:
    if as_json:
        return _Json()
    if quiet:
        return _Nothing()
    return _Panel(settings) if sys.stderr.isatty() else _Lines(settings)


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


class _Share:
    """The finished share of a run: of its steps or its minutes, the larger share."""

    def __init__(self, settings: "Callable[[], Settings]") -> None:
        self._settings = settings
        self._began: float | None = None

    def at(self, event: Event) -> float | None:
        """Return the finished share, from 0 to 1, at the event; None for a run without a limit."""
        self._began = self._began or event.time
        run = self._settings().run
        shares = []
        if run.steps:
            shares.append(event.step / run.steps)
        if run.minutes:
            shares.append((event.time - self._began) / (run.minutes * 60))
        return min(1.0, max(shares)) if shares else None


def _speed(values: dict[str, float]) -> str:
    return f"{values.get('speed/steps_per_second', 0):,.0f} steps/s"


def _figures(values: dict[str, float]) -> list[str]:
    """Return an iteration's numbers as texts, without the numbers that are not known yet."""
    known = ((name, values.get(key, math.nan), form) for name, key, form in _SHOWN)
    return [f"{name} {form.format(value)}" for name, value, form in known if math.isfinite(value)]


def _notice(event: Event) -> str | None:
    """Return an event as a line of text, or None for an event that is not printed as a line."""
    text = _describe(event)
    return escape(text) if text else None  # a message may quote a client's text


def _describe(event: Event) -> str | None:
    """Describe an event in words, or return None for an event that is not printed."""
    match event:
        case Failed():
            return f"failed: {event.type}: {event.message}"
        case Status(kind="started"):
            return f"started: run {event.run}"
        case Status():
            return _WORDS.get(event.kind) or " ".join(filter(None, (event.kind, event.message)))
        case Alert():
            return f"{event.level}: {event.name}: {event.message}"
        case Evaluation() if event.state == "done" and event.score is not None:
            return f"evaluation against {event.opponent}: score {event.score:.3f}"
    return None


class _Lines:
    """Prints text lines, for a log file or a pipe."""

    def __init__(self, settings: "Callable[[], Settings]") -> None:
        self._progress = _Share(settings)
        self._next = 0.0

    def close(self) -> None:
        """Do nothing, because there is nothing to release."""

    def show(self, event: Event) -> None:
        """Print the event. Skip an iteration less than ``PLAIN_SECONDS`` after a printed one."""
        text = _notice(event)
        if isinstance(event, Iteration):
            share = self._progress.at(event)
            if event.time < self._next and share != 1:
                return
            self._next = event.time + PLAIN_SECONDS
            done = "" if share is None else f"{share:4.0%}"
            figures = (_speed(event.values), *_figures(event.values))
            text = "  ".join(filter(None, (done, f"iteration {event.iteration}", *figures)))
        if text:
            clock = time.strftime("%H:%M:%S", time.localtime(event.time))
            print(f"{clock}  step {event.step:>11,}  {text}", file=sys.stderr, flush=True)


class _Panel:
    """Shows a progress bar and the newest numbers. Notices scroll above the bar."""

    def __init__(self, settings: "Callable[[], Settings]") -> None:
        from rich.console import Console
        from rich.live import Live

        self._progress = _Share(settings)
        self._began = time.monotonic()
        self._newest: Iteration | None = None
        self._share: float | None = None
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=4,
            redirect_stdout=False,
        )

    def close(self) -> None:
        """Stop refreshing the panel. The last numbers stay on the screen."""
        self._live.stop()

    def show(self, event: Event) -> None:
        """Print the event as a notice. Store an iteration's numbers for the next refresh."""
        self._live.start()  # does nothing after the first call
        text = _notice(event)
        if text:
            style = "red" if isinstance(event, Failed | Alert) else "dim"
            self._console.print(text, style=style, markup=False)
        if isinstance(event, Iteration):
            self._newest, self._share = event, self._progress.at(event)

    def _render(self) -> Any:
        """Return the panel. Rich's thread calls this function four times a second."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        newest, share = self._newest, self._share
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        bar = ProgressBar(total=1.0, completed=share or 0.0, pulse=share is None, width=30)
        row = Table.grid(padding=(0, 2))
        if newest is None:
            row.add_row(bar, f"{minutes}:{seconds:02d}")
            return row
        steps = f"{newest.step:,} steps"
        row.add_row(bar, f"{minutes}:{seconds:02d}", steps, _speed(newest.values))
        figures, below = _figures(newest.values), Table.grid(padding=(0, 2))
        for at in range(0, len(figures), 3):  # a single line would not fit into 80 columns
            below.add_row(*figures[at : at + 3], style="cyan")
        return Group(row, below)
