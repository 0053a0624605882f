"""What belongs to the whole process: set here by an entry point, never by importing the library."""

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from keisei.config import Settings

_STOPPING = (signal.SIGINT, signal.SIGTERM)


def keep_kernels() -> None:
    """Keep compiled kernels in the user's cache, unless ``NUMBA_CACHE_DIR`` says where.

    Must come before Numba is imported. The default, beside the source, may not be writable in an
    installed wheel, and then every start would compile for half a minute.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "keisei" / "numba"))


def prepare(settings: "Settings") -> None:
    """Give the loop a chance beside the device thread, and torch its threads."""
    import torch

    sys.setswitchinterval(0.0005)  # the default of 5 ms is what the loop would wait for the GIL
    torch.set_num_threads(settings.compute.threads or len(os.sched_getaffinity(0)))


async def stop_on_signal(stop: Callable[[], None]) -> None:
    """Call ``stop`` at the first SIGINT or SIGTERM. The second ends the process, stacks dumped."""
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
