"""What begins and ends, for a person who waits: one stage after the other, and what is beside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Progress = Callable[[str], AbstractContextManager[object]]
"""Called with what begins; the context ends with it."""


def quiet(label: str) -> AbstractContextManager[object]:
    """Report no progress."""
    return nullcontext()


class Background:
    """A few threads for work that nobody waits for yet; its stages are reported in the end.

    Use it as a context manager: leaving waits for the threads, so whatever they wait for must end
    before.

    Args:
        progress: Told what is waited for, and what was done meanwhile.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pool = ThreadPoolExecutor(3)
        self._done: list[tuple[str, float]] = []

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def note(self, label: str) -> Iterator[None]:
        """Take note of a stage, as a `Progress` for work in a thread."""
        start = time.monotonic()
        yield
        self._done.append((label, time.monotonic() - start))

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call ``function`` in a thread; its progress, if it reports any, is `note`."""
        return self._pool.submit(function, *args, **kwargs)

    def wait(self, future: Future[R], label: str) -> R:
        """Return the result of ``future``; where it is not there yet, report the wait as ``label``.

        What was done in the threads until then is reported, too.
        """
        if not future.done():
            with self._progress(label):
                future.exception()
        done, self._done = self._done, []
        for stage, seconds in done:
            with self._progress(f"meanwhile: {stage}: {seconds:.1f} s"):
                pass
        return future.result()


def done(value: R) -> Future[R]:
    """Return a future that has ``value`` already."""
    future: Future[R] = Future()
    future.set_result(value)
    return future
