"""How ``keisei train`` tells of its progress: a live panel, plain lines, or JSON lines."""

import json
import math
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from keisei.events import Alert, Evaluation, Event, Failed, Iteration, Log, Status

if TYPE_CHECKING:
    from keisei.config import Settings

Report = Callable[[Event], None]

PLAIN_SECONDS = 10
"""Time between two plain lines of metrics; iterations on a small net come faster than one reads."""

_SHOWN = (
    ("loss policy", "train/loss_policy", "{:.3f}"),
    ("value", "train/loss_value", "{:.3f}"),
    ("entropy", "train/entropy", "{:.2f}"),
    ("kl", "train/kl", "{:.4f}"),
    ("length", "games/length", "{:.0f}"),
    ("decisive", "games/decisive", "{:.0%}"),
)

_WORDS = {
    "compiling": "compiling; half a minute the first time",
    "checkpoint": "checkpoint saved",  # the message is its path; the step says which
}


def reporter(settings: "Settings", *, as_json: bool) -> AbstractContextManager[Report]:
    """A context manager giving the function to call with each event.

    JSON goes to stdout, everything for people to stderr.
    """
    if as_json:
        return nullcontext(_json_line)
    if sys.stderr.isatty():
        return _Panel(settings)
    return nullcontext(_Lines(settings))


def _json_line(event: Event) -> None:
    line = {"event": event.event, "topic": event.topic, **event.to_dict()}
    print(json.dumps(line), flush=True)


class _Progress:
    """How far a run is: by steps or minutes, whichever ends it first; both may be endless."""

    def __init__(self, settings: "Settings") -> None:
        self._steps = settings.run.steps
        self._seconds = settings.run.minutes * 60
        self._began: float | None = None

    def share(self, event: Event) -> float | None:
        """Between 0 and 1, or None for a run without an end."""
        self._began = self._began or event.time
        shares = []
        if self._steps:
            shares.append(event.step / self._steps)
        if self._seconds:
            shares.append((event.time - self._began) / self._seconds)
        return min(1.0, max(shares)) if shares else None


def _speed(values: dict[str, float]) -> str:
    return f"{values.get('speed/steps_per_second', 0):,.0f} steps/s"


def _figures(values: dict[str, float]) -> str:
    """The newest figures; without those that aren't known yet, as when no game has ended."""
    known = ((name, values.get(key, math.nan), form) for name, key, form in _SHOWN)
    return "  ".join(
        f"{name} {form.format(value)}" for name, value, form in known if math.isfinite(value)
    )


def _notice(event: Event) -> str | None:
    """The line of an event that isn't a metric; None where there is nothing to say."""
    match event:
        case Failed():
            return f"failed: {event.type}: {event.message}"
        case Status():
            return _WORDS.get(event.kind) or " ".join(filter(None, (event.kind, event.message)))
        case Alert():
            return f"{event.level}: {event.name}: {event.message}"
        case Log() if event.level != "info":
            return f"{event.level}: {event.message}"
        case Evaluation() if event.state == "done" and event.score is not None:
            return f"evaluation against {event.opponent}: score {event.score:.3f}"
    return None


class _Lines:
    """Plain lines, for a log file or a pipe."""

    def __init__(self, settings: "Settings") -> None:
        self._progress = _Progress(settings)
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        """Print the event, if it is time."""
        text = _notice(event)
        if isinstance(event, Iteration):
            share = self._progress.share(event)
            if event.time < self._next and share != 1:
                return
            self._next = event.time + PLAIN_SECONDS
            done = "" if share is None else f"{share:4.0%}"
            figures = (_speed(event.values), _figures(event.values))
            text = "  ".join(filter(None, (done, f"iteration {event.iteration}", *figures)))
        if text:
            clock = time.strftime("%H:%M:%S", time.localtime(event.time))
            print(f"{clock}  step {event.step:>11,}  {text}", file=sys.stderr, flush=True)


class _Panel:
    """A progress bar and the newest figures, kept in place on a terminal; notices scroll above."""

    def __init__(self, settings: "Settings") -> None:
        from rich.console import Console
        from rich.live import Live

        self._progress = _Progress(settings)
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

    def __enter__(self) -> Report:
        self._live.__enter__()
        return self._show

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def _show(self, event: Event) -> None:
        text = _notice(event)
        if text:
            style = "red" if isinstance(event, Failed | Alert) else "dim"
            self._console.print(text, style=style, markup=False)
        if isinstance(event, Iteration):
            self._newest, self._share = event, self._progress.share(event)

    def _render(self) -> Any:
        """Called by rich's thread, four times a second."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        newest, share = self._newest, self._share
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        bar = ProgressBar(total=1.0, completed=share or 0.0, pulse=share is None, width=30)
        row = Table.grid(padding=(0, 2))
        if newest is None:
            row.add_row(bar, f"{minutes}:{seconds:02d}")
            return row
        steps = f"{newest.step:,} steps"
        row.add_row(bar, f"{minutes}:{seconds:02d}", steps, _speed(newest.values))
        return Group(row, Text(_figures(newest.values), style="cyan"))
