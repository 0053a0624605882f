"""Set up the process for a command: signals, exit, kernel cache, error messages."""

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
"""Seconds that a stop may take. Service managers kill a process after 30 seconds or more."""

ECHO_SECONDS = 0.5
"""Seconds within which a repeated signal does not count as a second signal.

``timeout`` sends each signal twice: to the command, and then to its process group."""


def keep_kernels() -> None:
    """Keep compiled kernels in the user's cache. Call this before Numba is imported.

    By default Numba keeps them in the folder of the source. In an installed wheel this folder may
    be read-only, and then every start compiles for half a minute. If ``NUMBA_CACHE_DIR`` is set in
    the environment, it stays as it is.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "keisei" / "numba"))


def set_up() -> None:
    """Prepare the process for a device thread. Call this before torch is imported."""
    if "torch" not in sys.modules:  # a program that calls commands may have loaded torch
        prepare_process()
    # Without this call the garbage collector visits all of torch's objects at exit for a second.
    atexit.register(gc.freeze)


def on_console(record: logging.LogRecord) -> bool:
    """Return whether a log record is printed on a terminal that also shows the run's progress."""
    from keisei.log import ALSO_EVENTS

    if record.name in ALSO_EVENTS and "sink progress" not in record.getMessage():
        return False
    return record.levelno >= logging.WARNING


def beside_json(record: logging.LogRecord) -> bool:
    """Return whether a log record is printed on stderr while events go to stdout as JSON."""
    from keisei.log import RUN_LOGGER

    return record.levelno >= logging.WARNING and record.name != RUN_LOGGER


def report_failure(failure: "TrainingFailed", log_file: Path) -> None:
    """Print one line on stderr, and write the traceback into the run's log."""
    import structlog

    structlog.get_logger("keisei").error(
        "training_failed", error=str(failure), traceback=failure.details
    )
    print(f"keisei: training failed: {failure}; traceback in {log_file}", file=sys.stderr)


@contextmanager
def problems() -> Iterator[None]:
    """Turn known errors of the block into a CommandError, which has a line and an exit code."""
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
        # These modules import torch, so they are imported last.
        from keisei.nets.policy import DeviceError
        from keisei.nets.registry import NetError
        from keisei.server.security import HostRefusedError

        if isinstance(error, HostRefusedError | NetError):
            raise UsageError(str(error)) from error
        if isinstance(error, DeviceError):
            raise EnvironmentProblem(str(error)) from error
        raise


@asynccontextmanager
async def stopped_by_signal(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Call ``stop`` at the first SIGINT, SIGTERM or SIGHUP within the block.

    A second signal prints all stacks and ends the process. A stop that takes too long does the same
    (see ``leave_in_time``). An error of the block is raised as it is, not in an exception group.
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
    """Print all stacks and exit with code 1 if the process has not ended in ``LEAVE_SECONDS``.

    A thread of C code waits, so that this works even if a Python thread never releases the GIL.
    """
    faulthandler.dump_traceback_later(LEAVE_SECONDS, exit=True)


def leave_now(code: int) -> NoReturn:
    """End the process without waiting for its threads. Call this only after the run is closed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _stop_at_first(stop: Callable[[], None], *, task_status: "TaskStatus[None]") -> None:
    import anyio

    with anyio.open_signal_receiver(*stopping_signals()) as signals:
        task_status.started()
        number = await anext(signals)
    force_at_next(number)  # uses signal handlers, because the loop itself may hang
    leave_in_time()
    stop()  # before the print, which waits if stderr is a full pipe
    print("stopping; send the signal once more to force the end", file=sys.stderr)


def stopping_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop a command cleanly.

    A terminal that closes sends SIGHUP. If ``nohup`` made the process ignore SIGHUP, the process
    still ignores it.
    """
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hangup)


def force_at_next(first: int) -> None:
    """Make the next signal print all stacks and end the process. ``first`` has just arrived."""
    arrived = time.monotonic()

    def force(number: int, frame: FrameType | None) -> None:
        if number == first and time.monotonic() - arrived < ECHO_SECONDS:
            return
        faulthandler.dump_traceback(all_threads=True)
        os._exit(128 + number)

    for number in stopping_signals():
        signal.signal(number, force)
