"""Set up the whole process for training: OpenMP's threads, the GIL's interval, the heap.

Only the program that owns the process calls ``prepare_process`` and ``keep_freed_memory``. Neither
the import of Keisei nor the start of a run changes the process.
"""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3)


class _Mallinfo2(ctypes.Structure):
    """The C structure that ``mallinfo2`` returns; see mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def prepare_process() -> None:
    """Prepare the process for training beside an event loop. Call this before importing torch.

    Without this call, training is several times slower on a CPU that other programs use too,
    because OpenMP's threads spin when they should sleep. The ``keisei`` command makes this call. A
    program that uses the class ``Keisei`` can call this function too. Environment variables that
    are already set keep their values.

    Raises:
        RuntimeError: torch has been imported, so OpenMP has already read the environment.
    """
    if "torch" in sys.modules:
        raise RuntimeError("prepare_process() must be called before torch is imported")
    # With libgomp's default, threads spin so long that training beside one other busy process is
    # ten times slower than alone. If threads never spin, training on free cores is 25 % slower than
    # with the default.
    if not openmp_is_set():
        os.environ["GOMP_SPINCOUNT"] = "6000"
    keep_freed_memory()
    # With Python's default interval the event loop would wait up to 5 ms for the GIL.
    sys.setswitchinterval(0.0005)


def openmp_is_set() -> bool:
    """Whether an environment variable sets how long libgomp's threads spin before they sleep."""
    return not os.environ.keys().isdisjoint({"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"})


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for later use. Return whether glibc accepted the change.

    A training step on the CPU allocates and frees blocks of some megabytes. By default glibc maps
    new memory for each block, and the page faults in this memory take a fifth of the step's time.
    This function changes the whole process. Call this function before any thread starts.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # the C library is musl
        return False
    wanted = ((_MMAP_THRESHOLD, 1 << 25), (_TRIM_THRESHOLD, 1 << 30), (_ARENA_MAX, 1))
    accepted = [mallopt(option, value) for option, value in wanted]
    return 0 not in accepted


def heap_bytes() -> int:
    """Return the number of bytes of the C heap that are in use; 0 if the number is unknown.

    A memory leak in torch or other C code raises this number at once. Python keeps objects of up
    to 512 bytes outside the C heap. A leak of such objects raises only the resident memory.
    """
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if mallinfo2 is None:  # the C library is musl, or glibc before 2.33
        return 0
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)
