"""Processes of one run: what is there of them, and what is left."""

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
    """Return the processes of a run that are alive: its session's, and those with its mark.

    Args:
        leader: The first process, which leads the session.
        marker: The value of `MARKER` that the run was given; a child inherits it.
    """
    found = {each.pid: each for each in Tree(leader).members()}
    if marker is not None:
        wanted = f"{MARKER}={marker}".encode()
        for each in Tree(1).members():
            if each.pid not in found and wanted in _environment(each.pid):
                found[each.pid] = each
    return list(found.values())


def left_after(leader: int, patience_s: float, marker: str | None = None) -> tuple[str, ...]:
    """Wait for a run's processes to end, end those that do not, and return them in words."""
    until = time.monotonic() + patience_s
    while there := members(leader, marker):
        if time.monotonic() > until:
            told = tuple(f"{each.pid} {each.label}" for each in there)
            for each in there:
                with suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)
            while members(leader, marker):  # they hold files that are about to be removed
                time.sleep(_WAIT_S)
            return told
        time.sleep(_WAIT_S)
    return ()


def _environment(pid: int) -> set[bytes]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()
