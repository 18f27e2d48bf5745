"""Has a machine's memory at hand before something is timed.

A virtual machine may give memory that is free back to its host within seconds. Whoever touches it
next waits for the host, some 2 s for each GB, so that a command would be timed by how
much memory the one before it had used, and a command that takes more by more than its share.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SHARE = 0.6
_CHILD = """
import numpy
numpy.empty({count}, numpy.uint8)[::4096] = 1
"""


def warm_memory() -> None:
    """Touch more than half of the memory that is available, in a process that ends at once."""
    count = int(available_bytes() * _SHARE)
    subprocess.run([sys.executable, "-c", _CHILD.format(count=count)], check=True)


def available_bytes() -> int:
    """Return how much memory processes could take without swapping, by the kernel's estimate."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")
