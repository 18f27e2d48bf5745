"""Whether this machine has an NVIDIA GPU that can be used."""

from __future__ import annotations

import ctypes
import sys


def gpu_problem() -> str | None:
    """Return why there is no usable NVIDIA GPU, or None if there is one.

    It asks the CUDA driver itself, which needs no other package.
    """
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return "no NVIDIA driver on this machine"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return "the NVIDIA driver does not start"
    return None if count.value else "no NVIDIA GPU on this machine"
