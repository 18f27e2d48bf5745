"""Signals that end a command: the first one unwinds it, and later ones are ignored."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import NoReturn

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def unwind_on_signals() -> None:
    """Make signals that end the process unwind it, so that half-written files are removed.

    An ignored signal stays ignored, as ``nohup`` and shells that start background jobs expect.
    After the first signal, all others have no effect.
    """
    for number in _numbers():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _unwind)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Defer signals that have a Python handler until the context ends.

    Only the main thread handles signals, so in other threads this does nothing.
    """
    if current_thread() is not main_thread():
        yield
        return
    received: list[int] = []
    handlers = {
        number: handler for number in _numbers() if callable(handler := signal.getsignal(number))
    }
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: received.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received[:1]:
            signal.raise_signal(number)


def _numbers() -> list[int]:
    return [
        getattr(signal, name) for name in _NAMES if hasattr(signal, name)
    ]  # Windows has no SIGHUP


def _unwind(number: int, frame: FrameType | None) -> NoReturn:
    for later in _numbers():
        if signal.getsignal(later) is not signal.SIG_IGN:
            # Not SIG_IGN, which child processes started from now on would inherit.
            signal.signal(later, lambda number, frame: None)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
