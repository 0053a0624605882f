"""Keeping what stands beside training from ending it, and noticing when training stands still."""

import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping

import anyio

from keisei.errors import unwrap
from keisei.events import Level

_log = logging.getLogger(__name__)

RESTARTS = 3
PAUSES = (0.1, 0.5, 2.0)
"""Seconds before each restart."""

ALLOWANCE: Mapping[str, float] = {
    "start": 120,
    "compile": 900,
    "iteration": 60,
    "evaluation": 60,
    "save": 120,
    "rollback": 120,
    "idle": 10,
}
"""Seconds that the device thread may show no life, by phase."""

Report = Callable[[str, Level, str], None]
"""Called with the name, level and message of an alert."""


class Losses:
    """Names what stands beside training and does not work any more."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, Callable[[], int], int]] = {}

    def add(self, name: str, text: str, progress: Callable[[], int] = lambda: 0) -> None:
        """Note a loss. It counts for as long as ``progress`` stays where it is now."""
        self._found[name] = text, progress, progress()

    def now(self) -> tuple[str, ...]:
        """What is lost at this moment, for a person: ``sink x: OSError: ...``."""
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
    """Run to the end; a crash is an alert and a warning, and up to three times in a row a new start.

    ``progress``: a crash after it changed is the first in a row again. ``again`` is awaited before
    each try beyond the three, and says whether to make it; more crashes are then no more alerts.
    ``losses``: where it is noted that the three did not help.

    Returns whether it came to its end. Raises nothing but cancellation.
    """
    crashes, reached = 0, progress()

    def tell(message: str) -> None:
        report(name, "error", message)
        _log.warning("%s: %s", name, message)  # on stderr, where a program sets up no logging

    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 (whatever it is must not reach training)
            if progress() != reached:
                crashes, reached = 0, progress()
            crashes += 1
            cause = unwrap(error)
            text = "".join(traceback.format_exception_only(cause)).strip()
            _log.info("%s crashed", name, exc_info=cause)
            if crashes <= RESTARTS:
                tell(f"{text}; starting again")
                await anyio.sleep(PAUSES[crashes - 1])
                continue
            if crashes == RESTARTS + 1:
                end = "tried again from time to time" if again else "given up"
                tell(f"{text}; {end} after {RESTARTS} restarts")
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
    """Report, once each time, a device thread that outstays its phase's allowance."""
    told: tuple[str, float] | None = None
    while True:
        await anyio.sleep(every)
        phase, since = current = beat()
        silent = time.monotonic() - since
        if current != told and silent > allowance.get(phase, float("inf")):
            told = current
            report("watchdog", "error", f"no sign of life for {silent:.0f} s in phase {phase}")


class Heartbeat:
    """Measures how late the loop runs what is due."""

    def __init__(self, every: float = 0.25) -> None:
        self._every = every
        self._worst = 0.0

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            due = time.perf_counter() + self._every
            await anyio.sleep(self._every)
            self._worst = max(self._worst, time.perf_counter() - due)

    def take(self) -> float:
        """The worst lag in seconds since the last call."""
        worst, self._worst = self._worst, 0.0
        return worst
