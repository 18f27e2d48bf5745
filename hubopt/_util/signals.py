"""Signals that end a command: the first one unwinds it, and no other one disturbs that."""

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
    """Let signals that end the process unwind it, so that what is half-written goes.

    One that is ignored stays ignored, as ``nohup`` and shells that start jobs in the background
    want it. Once the first one has come, the others change nothing.
    """
    for number in _numbers():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _unwind)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Let signals that have a Python handler wait until the context ends.

    Other threads than the main one never handle signals, so there is nothing to do in them.
    """
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []
    handlers = {
        number: handler for number in _numbers() if callable(handler := signal.getsignal(number))
    }
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def _numbers() -> list[int]:
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]  # no SIGHUP: Windows


def _unwind(number: int, frame: FrameType | None) -> NoReturn:
    for each in _numbers():
        if signal.getsignal(each) is not signal.SIG_IGN:
            # Not SIG_IGN, which processes that are started from now on would inherit.
            signal.signal(each, lambda number, frame: None)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
