"""What belongs to the whole process: set here by an entry point, never by importing the library."""

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from keisei.cli.errors import EnvironmentProblem, UsageError

_STOPPING = (signal.SIGINT, signal.SIGTERM)


def set_up() -> None:
    """Prepare the process for a run. Must come before Numba is imported."""
    # Beside the source, Numba's default, may not be writable in an installed wheel, and then every
    # start would compile for half a minute.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "keisei" / "numba"))
    # The default of 5 ms is what the loop would wait for the GIL beside the device thread.
    sys.setswitchinterval(0.0005)


@contextmanager
def problems() -> Iterator[None]:
    """Turn what a run can't start with into one line and an exit code."""
    from keisei.nets.policy import DeviceError
    from keisei.server.security import HostRefusedError
    from keisei.store import CheckpointError, DatabaseError, RunError, RunLockedError

    try:
        yield
    except (RunError, CheckpointError, HostRefusedError) as error:
        raise UsageError(str(error)) from error
    except (RunLockedError, DeviceError, DatabaseError, OSError) as error:
        raise EnvironmentProblem(str(error)) from error


async def stop_on_signal(stop: Callable[[], None]) -> None:
    """Call ``stop`` at the first SIGINT or SIGTERM. The second ends the process, stacks dumped."""
    import anyio

    with anyio.open_signal_receiver(*_STOPPING) as signals:
        async for _ in signals:
            break
    for number in _STOPPING:
        signal.signal(number, _force)  # not on the loop: it may be the loop that hangs
    print("stopping; once more to force", file=sys.stderr)
    stop()


def _force(number: int, frame: FrameType | None) -> None:
    faulthandler.dump_traceback(all_threads=True)
    os._exit(128 + number)
