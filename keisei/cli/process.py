"""What belongs to the whole process: set here by an entry point, never by importing the library."""

import atexit
import faulthandler
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from keisei.cli.errors import EnvironmentProblem, UsageError
from keisei.process import prepare_process

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from keisei.errors import TrainingFailed

LOG_FILE = "keisei.log"
LEAVE_SECONDS = 25.0
"""How long a stop may take: systemd and its kin kill what takes 30 seconds or more."""

ECHO_SECONDS = 0.5
"""How soon after a signal the same one is the first once more: ``timeout`` signals the command and
then its process group."""


def keep_kernels() -> None:
    """Keep compiled kernels in the user's cache. Must come before Numba is imported.

    Beside the source, Numba's default, may not be writable in an installed wheel, and then every
    start would compile for half a minute. ``NUMBA_CACHE_DIR`` in the environment wins.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "keisei" / "numba"))


def set_up() -> None:
    """Prepare the process for a device thread beside the loop. Must come before torch is imported."""
    if "torch" not in sys.modules:  # else this is a program that calls commands as functions
        prepare_process()
    # Else the collector walks all that torch made once more: a second between "stopped" and exit.
    atexit.register(gc.freeze)


def on_console(record: logging.LogRecord) -> bool:
    """Whether a log record is for the terminal, where progress tells the run's events."""
    from keisei.log import ALSO_EVENTS

    if record.name in ALSO_EVENTS and "sink progress" not in record.getMessage():
        return False
    return record.levelno >= logging.WARNING


def beside_json(record: logging.LogRecord) -> bool:
    """Whether a log record is for stderr, where progress writes events as JSON on stdout."""
    from keisei.log import RUN_LOGGER

    return record.levelno >= logging.WARNING and record.name != RUN_LOGGER


def tell_failure(failure: "TrainingFailed", log_file: Path) -> None:
    """One line for a person, and the traceback in the run's log."""
    import structlog

    structlog.get_logger("keisei").error(
        "training_failed", error=str(failure), traceback=failure.details
    )
    print(f"keisei: training failed: {failure}; traceback in {log_file}", file=sys.stderr)


@contextmanager
def problems() -> Iterator[None]:
    """Turn what a run can't start with into one line and an exit code."""
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        from keisei.config import SettingsError
        from keisei.store import (
            CheckpointError,
            DamagedCheckpointError,
            DamagedRunError,
            DatabaseError,
            RunError,
            RunLockedError,
        )

        if isinstance(error, DamagedCheckpointError | DamagedRunError):
            raise EnvironmentProblem(str(error)) from error
        if isinstance(error, RunError | CheckpointError | SettingsError):
            raise UsageError(str(error)) from error
        if isinstance(error, OSError) and error.strerror:
            where = f"{error.filename}: " if error.filename else ""
            raise EnvironmentProblem(where + error.strerror) from error
        if isinstance(error, RunLockedError | DatabaseError | OSError):
            raise EnvironmentProblem(str(error)) from error
        from keisei.nets.policy import DeviceError  # only now: these import torch
        from keisei.nets.registry import NetError
        from keisei.server.security import HostRefusedError

        if isinstance(error, HostRefusedError | NetError):
            raise UsageError(str(error)) from error
        if isinstance(error, DeviceError):
            raise EnvironmentProblem(str(error)) from error
        raise


@asynccontextmanager
async def stopped_by_signal(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Within the block, the first SIGINT, SIGTERM or SIGHUP calls ``stop``.

    The second ends the process, stacks dumped; so does a stop that takes too long (``leave_in_time``).
    What the block raises comes out as it is.
    """
    import anyio

    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(_stop_at_first, stop)
            yield
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
    finally:
        faulthandler.cancel_dump_traceback_later()


def leave_in_time() -> None:
    """From now on the process has ``LEAVE_SECONDS`` to end; then all stacks are dumped, exit code 1.

    A thread of C code watches, so that not even a worker that never lets go of the GIL holds it up.
    """
    faulthandler.dump_traceback_later(LEAVE_SECONDS, exit=True)


def leave_now(code: int) -> NoReturn:
    """End the process without waiting for its threads; everything that matters is closed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _stop_at_first(stop: Callable[[], None], *, task_status: "TaskStatus[None]") -> None:
    import anyio

    with anyio.open_signal_receiver(*stopping_signals()) as signals:
        task_status.started()
        number = await anext(signals)
    force_at_next(number)  # not on the loop: it may be the loop that hangs
    leave_in_time()
    stop()  # before the line: nobody may be reading stderr
    print("stopping; once more to force", file=sys.stderr)


def stopping_signals() -> tuple[signal.Signals, ...]:
    """The signals that end a command in good order.

    SIGHUP is that of a terminal that was closed; ``nohup`` has it ignored, and so it stays.
    """
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hangup)


def force_at_next(first: int) -> None:
    """From now on a signal ends the process, stacks dumped; ``first`` is the one that came just now."""
    came = time.monotonic()

    def force(number: int, frame: FrameType | None) -> None:
        if number == first and time.monotonic() - came < ECHO_SECONDS:
            return
        faulthandler.dump_traceback(all_threads=True)
        os._exit(128 + number)

    for number in stopping_signals():
        signal.signal(number, force)
