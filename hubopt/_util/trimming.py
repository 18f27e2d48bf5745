"""`trim_heap`: returns freed memory to the system."""

from __future__ import annotations

import ctypes


def trim_heap() -> None:
    """Ask the C library to return the memory that this process has freed.

    glibc keeps freed memory for later allocations, such as all weights of a float64 graph that
    was run and deleted. On other C libraries this does nothing.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
