"""Memory that was freed goes back to the system."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hubopt._util.trimming import trim_heap

PIECES, PIECE_BYTES = 4000, 100_000  # of a size that glibc takes from its heap


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_lies_between_what_is_kept_goes_back() -> None:
    pieces = [np.ones(PIECE_BYTES, np.uint8) for _ in range(PIECES)]
    full = resident_bytes()
    kept = pieces[::50]
    del pieces
    trim_heap()
    assert full - resident_bytes() > PIECES * PIECE_BYTES / 2
    assert all(each.all() for each in kept)
