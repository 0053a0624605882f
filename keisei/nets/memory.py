"""The C library's heap: how it keeps memory that torch gives back, and what is in use of it."""

import ctypes
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


def keep_freed_memory() -> bool:
    """Make glibc keep freed blocks instead of returning them to the system. True if it will.

    A training step on the CPU frees and takes again blocks of some megabytes; by default each new one
    is mapped afresh and its pages are faulted in one by one, a fifth of the step. Affects the whole
    process, so it is for entry points to call, before threads start.
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
