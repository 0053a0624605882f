"""What belongs to the whole process: set here by an entry point, never by importing the library."""

import atexit
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from keisei.cli.errors import EnvironmentProblem, UsageError
from keisei.nets.memory import keep_freed_memory

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from keisei.runtime.errors import TrainingFailed

LOG_FILE = "keisei.log"

_STOPPING = (signal.SIGINT, signal.SIGTERM)


def keep_kernels() -> None:
    """Keep compiled kernels in the user's cache. Must come before Numba is imported.

    Beside the source, Numba's default, may not be writable in an installed wheel, and then every
    start would compile for half a minute. ``NUMBA_CACHE_DIR`` in the environment wins.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "keisei" / "numba"))


def set_up() -> None:
    """Prepare the process for a device thread beside the loop. Must come before torch is imported."""
    # How long OpenMP's threads spin before they sleep (libgomp): with the default, training beside
    # one other busy process is five times slower; without any, a quarter slower on free cores.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "6000")
    keep_freed_memory()
    # The default of 5 ms is what the loop would wait for the GIL.
    sys.setswitchinterval(0.0005)
    # Else the collector walks all that torch made once more: a second between "stopped" and exit.
    atexit.register(gc.freeze)


def on_console(record: logging.LogRecord) -> bool:
    """Whether a log record is for the terminal. The run's own events are told there by progress."""
    return record.levelno >= logging.WARNING and record.name != "keisei"


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
        from keisei.nets.policy import DeviceError  # only now: these import torch
        from keisei.nets.registry import NetError
        from keisei.server.security import HostRefusedError
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
        if isinstance(
            error, RunError | CheckpointError | HostRefusedError | NetError | SettingsError
        ):
            raise UsageError(str(error)) from error
        if isinstance(error, OSError) and error.strerror:
            where = f"{error.filename}: " if error.filename else ""
            raise EnvironmentProblem(where + error.strerror) from error
        if isinstance(error, RunLockedError | DeviceError | DatabaseError | OSError):
            raise EnvironmentProblem(str(error)) from error
        raise


@asynccontextmanager
async def stopped_by_signal(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Within the block, the first SIGINT or SIGTERM calls ``stop``.

    The second ends the process, stacks dumped. What the block raises comes out as it is.
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


async def _stop_at_first(stop: Callable[[], None], *, task_status: "TaskStatus[None]") -> None:
    import anyio

    with anyio.open_signal_receiver(*_STOPPING) as signals:
        task_status.started()
        async for _ in signals:
            break
    for number in _STOPPING:
        signal.signal(number, _force)  # not on the loop: it may be the loop that hangs
    stop()  # before the line: nobody may be reading stderr
    print("stopping; once more to force", file=sys.stderr)


def _force(number: int, frame: FrameType | None) -> None:
    faulthandler.dump_traceback(all_threads=True)
    os._exit(128 + number)
