"""What belongs to the whole process: OpenMP's threads, the GIL's interval, the C library's heap.

The program that owns the process sets these, never the import or the opening of a run.
"""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3)


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3)"""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def prepare_process() -> None:
    """Set the process up for training beside an event loop. Call it before anything imports torch.

    On a CPU that other programs use too, training is several times slower without it: OpenMP's
    threads would spin where they should sleep. The ``keisei`` command calls it; a program that
    embeds ``Keisei`` decides for itself. What the environment says already stays as it is.

    Raises:
        RuntimeError: torch was imported; OpenMP has read the environment by then.
    """
    if "torch" in sys.modules:
        raise RuntimeError("prepare_process() must be called before torch is imported")
    # With libgomp's default, training beside one other busy process is several times slower;
    # without any spinning, a quarter slower on free cores.
    if not openmp_is_set():
        os.environ["GOMP_SPINCOUNT"] = "6000"
    keep_freed_memory()
    # The default of 5 ms is what the loop would wait for the GIL.
    sys.setswitchinterval(0.0005)


def openmp_is_set() -> bool:
    """Whether somebody chose how long OpenMP's threads spin before they sleep (libgomp)."""
    return not os.environ.keys().isdisjoint({"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"})


def keep_freed_memory() -> bool:
    """Make glibc keep freed blocks instead of returning them to the system. True if it will.

    A training step on the CPU frees and takes again blocks of some megabytes; by default each new one
    is mapped afresh and its pages are faulted in one by one, a fifth of the step. Affects the whole
    process, so call it before threads start.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    wanted = ((_MMAP_THRESHOLD, 1 << 25), (_TRIM_THRESHOLD, 1 << 30), (_ARENA_MAX, 1))
    accepted = [mallopt(option, value) for option, value in wanted]
    return 0 not in accepted


def heap_bytes() -> int:
    """Bytes of the C heap that are in use, without the holes between them; 0 where nobody can tell.

    What torch or C code leaks shows here at once. Python has its objects of up to 512 bytes elsewhere:
    these show in resident memory alone.
    """
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if mallinfo2 is None:  # musl, or glibc before 2.33
        return 0
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)
