"""Restarts failed tasks so that training goes on, and detects a silent device thread."""

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import anyio

from keisei.errors import unwrap
from keisei.events import Level

_log = logging.getLogger(__name__)

RESTARTS = 3
PAUSES = (0.1, 0.5, 2.0)
"""Seconds to wait before each restart."""

ALLOWANCE: Mapping[str, float] = {
    "start": 120,
    "compile": 900,
    "iteration": 60,
    "evaluation": 60,
    "save": 120,
    "rollback": 120,
    "idle": 10,
}
"""For each phase: seconds without a report after which ``watch`` sends an alert."""

Report = Callable[[str, Level, str], None]
"""Function that sends an alert with a name, a level and a message."""


def tell(report: Report, name: str, level: Level, message: str) -> None:
    """Send an alert and log it as a warning.

    Python prints the warning to stderr if the program has not set up logging.
    """
    report(name, level, message)
    _log.warning("%s: %s", name, message)


@contextmanager
def contained() -> Iterator[None]:
    """Turn SystemExit and CancelledError from other people's code into a RuntimeError.

    Otherwise these exceptions would end the event loop or cancel the run's tasks. The task that
    runs the ``with`` block can still be cancelled.
    """
    try:
        yield
    except (SystemExit, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        raise RuntimeError(f"raised {error!r}") from error


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Losses:
    """The parts of a run, other than training, that have stopped working."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, Callable[[], int], int]] = {}

    def add(self, name: str, text: str, progress: Callable[[], int] = lambda: 0) -> None:
        """Add a part that has stopped working. If ``progress()`` changes, the part works again."""
        self._found[name] = text, progress, progress()

    def now(self) -> tuple[str, ...]:
        """Return texts about the parts that do not work now, such as ``sink x: OSError: ...``."""
        found = self._found.items()
        return tuple(f"{name}: {text}" for name, (text, get, then) in found if get() == then)


async def supervise(
    name: str,
    run: Callable[[], Awaitable[None]],
    report: Report,
    *,
    progress: Callable[[], int] = lambda: 0,
    again: Callable[[], Awaitable[bool]] | None = None,
    losses: Losses | None = None,
) -> bool:
    """Await ``run()``. After an exception, send an alert and call ``run`` again, up to three times.

    If ``progress()`` has changed since the last exception, the exceptions are counted from 0 again.
    If ``run()`` also fails after the third restart without progress, ``name`` is added to
    ``losses``. Then ``again()`` is awaited before each further restart, and its result says whether
    to restart. After further restarts, exceptions cause no alerts.

    Returns whether ``run()`` has ended without an exception. Raises only cancellation.
    """
    crashes, reached = 0, progress()
    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 (no error here may reach training)
            if progress() != reached:
                crashes, reached = 0, progress()
            crashes += 1
            cause = unwrap(error)
            text = "".join(traceback.format_exception_only(cause)).strip()
            _log.info("%s crashed", name, exc_info=cause)
            if crashes <= RESTARTS:
                tell(report, name, "error", f"{text}; starting again")
                await anyio.sleep(PAUSES[crashes - 1])
                continue
            if crashes == RESTARTS + 1:
                end = "will be tried again later" if again else "given up"
                tell(report, name, "error", f"{text}; {end} after {RESTARTS} restarts")
                if losses:
                    losses.add(name, f"{text}; {end}", progress)
            if again is None or not await again():
                return False
        else:
            return True


async def watch(
    beat: Callable[[], tuple[str, float]],
    report: Report,
    *,
    allowance: Mapping[str, float] = ALLOWANCE,
    every: float = 1.0,
) -> None:
    """Send an alert each time the device thread is silent for longer than ``allowance`` permits."""
    reported: tuple[str, float] | None = None
    while True:
        await anyio.sleep(every)
        phase, since = current = beat()
        silent = time.monotonic() - since
        if current != reported and silent > allowance.get(phase, float("inf")):
            reported = current
            report(
                "watchdog",
                "error",
                f"the device thread has reported nothing for {silent:.0f} s in phase {phase}",
            )


class Heartbeat:
    """Measures how late the event loop runs its timers."""

    def __init__(
        self, every: float = 0.25, add: Callable[[float], None] = lambda lag: None
    ) -> None:
        """Each timer takes ``every`` seconds. ``add`` is called with the delay of each timer."""
        self._every = every
        self._add = add
        self._worst = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.perf_counter() + self._every
            await anyio.sleep(self._every)
            lag = max(0.0, time.perf_counter() - due)
            self._worst = max(self._worst, lag)
            self._add(lag)

    def worst_lag(self) -> float:
        """Return the longest delay of a timer, in seconds, since the last call of this method."""
        worst, self._worst = self._worst, 0.0
        return worst
