"""A pipe that ends a child process when its parent ends.

Only the parent holds the write end, and the system closes it however the parent ends. The
kernel's own signal at a parent's death (``PR_SET_PDEATHSIG``) is not suitable: it is sent when the
thread that started the child ends, and hubopt starts children from threads.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread

from hubopt._util.import_path import installed_path


@contextmanager
def lifeline() -> Iterator[int | None]:
    """Yield the descriptor to pass to a child, which dies when the context or this process ends.

    It is None on Windows, where a child ends when it next reads its closed standard input.
    """
    if sys.platform == "win32":
        yield None
        return
    ours, theirs = -1, -1
    try:
        theirs, ours = os.pipe()
        yield theirs
    finally:
        for descriptor in (ours, theirs):
            if descriptor >= 0:
                os.close(descriptor)


def die_with_parent(descriptor: int | None) -> None:
    """Make this process end when its parent ends, even while native code computes.

    Args:
        descriptor: The descriptor that `lifeline` yielded to the parent.
    """
    if descriptor is None or sys.platform == "win32":
        return
    tie(descriptor, os.getpid())
    # Where the kernel does not end the process, a thread does so once native code lets Python
    # run. The thread also ends a process whose parent died before `tie` was called.
    Thread(target=_wait, args=(descriptor,), daemon=True, name="hubopt-lifeline").start()


def tie(descriptor: int | None, process: int) -> None:
    """Make the kernel end a process when this pipe closes; this works on Linux only.

    Both sides call it: the parent at once, and the child in case the parent died before.

    Args:
        descriptor: The descriptor that `lifeline` yielded.
        process: The process id.
    """
    if descriptor is not None and sys.platform == "linux":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, process)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)


def tethered(command: Sequence[str], descriptor: int | None) -> list[str]:
    """Return a command that runs ``command`` and, on Linux, dies with this process.

    Args:
        command: A program that does not use hubopt, and its arguments.
        descriptor: The descriptor that `lifeline` yielded.
    """
    code = (
        f"import os, sys; sys.path[:] = {installed_path()!r}; "
        "from hubopt.workers.lifeline import die_with_parent; "
        f"die_with_parent({descriptor!r}); os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-c", code, *command]


def _wait(descriptor: int) -> None:
    while os.read(descriptor, 1):  # nothing is ever written
        pass
    os.kill(os.getpid(), signal.SIGKILL)
