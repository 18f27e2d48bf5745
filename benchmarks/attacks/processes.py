"""The processes of one run: those that are alive, and those that are left."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.attacks.place import MARKER
from benchmarks.cost.processes import Process, Tree

_WAIT_S = 0.02


def members(leader: int, marker: str | None = None) -> list[Process]:
    """Return the live processes of a run: those in its session, and those with its marker.

    Args:
        leader: The first process, which leads the session.
        marker: The value of `MARKER` for the run; a child inherits it.
    """
    found = {process.pid: process for process in Tree(leader).members()}
    if marker is not None:
        wanted = f"{MARKER}={marker}".encode()
        for process in Tree(1).members():
            if process.pid not in found and wanted in _environment(process.pid):
                found[process.pid] = process
    return list(found.values())


def left_after(leader: int, patience_s: float, marker: str | None = None) -> tuple[str, ...]:
    """Wait for a run's processes to end, kill those that do not, and return their descriptions."""
    until = time.monotonic() + patience_s
    while alive := members(leader, marker):
        if time.monotonic() > until:
            descriptions = tuple(f"{process.pid} {process.label}" for process in alive)
            for process in alive:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            while members(leader, marker):  # they hold files that are about to be removed
                time.sleep(_WAIT_S)
            return descriptions
        time.sleep(_WAIT_S)
    return ()


def _environment(pid: int) -> set[bytes]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()
