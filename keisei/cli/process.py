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

LEAVE_SECONDS = 25.0
"""Longest time that a stop may take, in seconds. Service managers usually allow 30 seconds."""

ECHO_SECONDS = 0.5
"""Seconds after the first signal during which the same signal is ignored.

The program ``timeout`` sends its signal twice: to the command and to the process group."""


def keep_kernels() -> None:
    """Make Numba store compiled kernels in the user's cache. Call this before Numba is imported.

    By default Numba stores compiled kernels beside the source files. The folder of an installed
    package can be read-only, and then every start compiles for half a minute. If the environment
    variable ``NUMBA_CACHE_DIR`` is already set, this function changes nothing.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "keisei" / "numba"))


def set_up() -> None:
    """Prepare the process for the use of torch. Call this before torch is imported."""
    if "torch" not in sys.modules:  # a program that calls a command can have imported torch
        prepare_process()
    # Otherwise the garbage collector would spend a second at exit on visiting torch's objects.
    atexit.register(gc.freeze)


def on_console(record: logging.LogRecord) -> bool:
    """Return whether to print a log record on stderr, where the run's progress is shown too."""
    from keisei.log import ALSO_EVENTS

    if record.name in ALSO_EVENTS and "sink progress" not in record.getMessage():
        return False
    return record.levelno >= logging.WARNING


def beside_json(record: logging.LogRecord) -> bool:
    """Return whether to print a log record on stderr if stdout receives the events as JSON."""
    from keisei.log import RUN_LOGGER

    return record.levelno >= logging.WARNING and record.name != RUN_LOGGER


def report_failure(failure: "TrainingFailed", log_file: Path) -> None:
    """Print a line about the failure on stderr, and write the traceback into the run's log."""
    import structlog

    structlog.get_logger("keisei").error(
        "training_failed", error=str(failure), traceback=failure.details
    )
    print(f"keisei: training failed: {failure}; traceback in {log_file}", file=sys.stderr)


@contextmanager
def problems() -> Iterator[None]:
    """Turn a known error of the block into a CommandError, which has an exit code."""
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
        # These modules import torch, which takes seconds, so they are imported only if needed.
        from keisei.nets.policy import DeviceError
        from keisei.nets.registry import NetError
        from keisei.server.hosts import HostRefusedError

        if isinstance(error, HostRefusedError | NetError):
            raise UsageError(str(error)) from error
        if isinstance(error, DeviceError):
            raise EnvironmentProblem(str(error)) from error
        raise


@asynccontextmanager
async def stopped_by_signal(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Call ``stop`` at the first SIGINT, SIGTERM or SIGHUP within the block.

    The next signal then ends the process at once; see ``force_at_next``. If the stop takes more
    than ``LEAVE_SECONDS``, all stacks are printed and the process ends. A first signal after the
    block changes nothing, because the command is about to end. A single error of the block is
    raised alone, not in an exception group.
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
        _let_end()


def _let_end() -> None:
    """Let a first signal not change the exit code of a command that is about to end."""

    def late(number: int, frame: FrameType | None) -> None:
        force_at_next(number)
        leave_in_time()

    def ignore() -> None:
        for number in stopping_signals():
            signal.signal(number, signal.SIG_IGN)

    for number in stopping_signals():
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, late)
    # Near its end, Python restores the default reaction to a signal, unless the signal is ignored.
    atexit.register(ignore)


def leave_in_time() -> None:
    """If the process has not ended after ``LEAVE_SECONDS``, print all stacks and exit with code 1.

    A C thread counts the seconds, so the exit works even if a Python thread never releases the GIL.
    """
    faulthandler.dump_traceback_later(LEAVE_SECONDS, exit=True)


def leave_now(code: int) -> NoReturn:
    """End the process without waiting for its threads. Close the run before this call."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _stop_at_first(stop: Callable[[], None], *, task_status: "TaskStatus[None]") -> None:
    import anyio

    with anyio.open_signal_receiver(*stopping_signals()) as signals:
        task_status.started()
        number = await anext(signals)
    force_at_next(number)  # uses signal handlers, because the event loop can hang
    leave_in_time()
    stop()  # called before the print, because a full pipe can block the print
    print("stopping; send the signal again to end at once", file=sys.stderr)


def stopping_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop a command cleanly.

    A terminal that closes sends SIGHUP. If ``nohup`` made the process ignore SIGHUP, SIGHUP is
    not returned.
    """
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hangup)


def force_at_next(first: int) -> None:
    """Make the next signal print all stacks and end the process. Signal ``first`` has just come.

    For ``ECHO_SECONDS``, a repetition of ``first`` is ignored.
    """
    arrived = time.monotonic()

    def force(number: int, frame: FrameType | None) -> None:
        if number == first and time.monotonic() - arrived < ECHO_SECONDS:
            return
        faulthandler.dump_traceback(all_threads=True)
        os._exit(128 + number)

    for number in stopping_signals():
        signal.signal(number, force)
