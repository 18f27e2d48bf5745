"""Freed memory is returned to the operating system."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hubopt._util.trimming import trim_heap

PIECES, PIECE_BYTES = 4000, 100_000  # small enough that glibc allocates them on the heap


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_memory_between_live_allocations_is_returned() -> None:
    pieces = [np.ones(PIECE_BYTES, np.uint8) for _ in range(PIECES)]
    full = resident_bytes()
    kept = pieces[::50]
    del pieces
    trim_heap()
    assert full - resident_bytes() > PIECES * PIECE_BYTES / 2
    assert all(piece.all() for piece in kept)
