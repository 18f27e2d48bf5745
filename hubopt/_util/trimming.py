"""`trim_heap`: memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes


def trim_heap() -> None:
    """Ask the C library to return what this process has freed.

    glibc keeps it for the next allocation: of a graph in float64 that was run and is gone, all
    of its weights. Other C libraries are left alone.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
