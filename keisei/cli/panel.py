"""Show the state of a run as a live panel on a terminal."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from keisei.cli import event_text
from keisei.cli.forecast import Forecast
from keisei.events import Alert, Evaluation, Event, Failed, Iteration, Status

if TYPE_CHECKING:
    from rich.text import Text

    from keisei.config import Settings

ALERTS = 3
"""Number of newest alerts that the panel shows."""

_BAR = 20
"""Width of the progress bar in characters. A terminal of fewer than 60 columns has no bar."""


class Panel:
    """Shows address, state, progress, speed, newest numbers, last evaluation and newest alerts.

    Notices, such as saved checkpoints, scroll above the panel.
    """

    def __init__(self, settings: "Callable[[], Settings]", address: str = "") -> None:
        from rich.console import Console
        from rich.live import Live

        self._address = address
        self._forecast = Forecast(settings)
        self._began = time.monotonic()
        self._state = "starting"
        self._newest: Iteration | None = None
        self._evaluation: Evaluation | None = None
        self._alerts: deque[Alert | Failed] = deque(maxlen=ALERTS)
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
        """Print the event's notice, if any. Store the values that the next refresh shows."""
        self._live.start()  # does nothing after the first call
        text = event_text.notice(event)
        if text:
            style = "red" if isinstance(event, Failed | Alert) else "dim"
            self._console.print(text, style=style, markup=False)
        if isinstance(event, Status):
            self._state = event.state
        match event:
            case Iteration():
                self._newest = event
                self._forecast.see(event)
            case Evaluation():
                self._evaluation = event
            case Alert() | Failed():
                self._alerts.append(event)

    def _render(self) -> Any:
        """Return the panel. Rich's thread calls this function four times a second."""
        from rich.console import Group
        from rich.text import Text

        lines: list[Any] = []
        if self._address:
            lines.append(self._line(f"Keisei is at {self._address}", "bold"))
        lines.append(self._progress())
        if newest := self._newest:
            speed = [f"{newest.step:,} steps", *event_text.speed(newest.values)]
            lines += self._flow(speed, "")
            lines += self._flow(event_text.figures(newest.values), "cyan")
        if self._evaluation:
            lines.append(self._line(event_text.evaluation(self._evaluation), "green"))
        for alert in tuple(self._alerts):
            clock = time.strftime("%H:%M:%S", time.localtime(alert.time))
            lines.append(self._line(f"{clock} {event_text.notice(alert)}", "red"))
        return Group(Text(""), *lines)

    def _progress(self) -> Any:
        """Return the line with the state, the bar and the times."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        share, left = self._forecast.share, self._forecast.seconds_left
        parts = [self._state, event_text.duration(time.monotonic() - self._began)]
        if share is not None:
            parts.insert(1, f"{share:.0%}")
        if left is not None and self._state == "running":
            parts.append(f"{event_text.duration(left)} left")
        line = self._line("  ".join(parts))
        if share is None or self._console.width < 60:
            return line
        row = Table.grid(padding=(0, 2))
        row.add_row(ProgressBar(total=1.0, completed=share, width=_BAR), line)
        return row

    def _flow(self, parts: Sequence[str], style: str) -> "list[Text]":
        """Return the parts as lines. Each line has as many whole parts as fit into the terminal."""
        lines: list[str] = []
        for part in parts:
            if lines and len(lines[-1]) + 2 + len(part) <= self._console.width:
                lines[-1] += f"  {part}"
            else:
                lines.append(part)
        return [self._line(line, style) for line in lines]

    def _line(self, text: str, style: str = "") -> "Text":
        """Return a line that is cut at the terminal's edge."""
        from rich.text import Text

        return Text(text, style=style, no_wrap=True, overflow="ellipsis")
