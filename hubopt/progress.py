"""What begins and ends, for a person who waits: one stage after the other, and what is beside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

R = TypeVar("R")

Progress = Callable[[str], AbstractContextManager[object]]
"""Called with what begins; the context ends with it."""


def quiet(label: str) -> AbstractContextManager[object]:
    """Report no progress."""
    return nullcontext()


class Beside:
    """A few threads for what need not be waited for yet; what took time there is told in the end.

    Use it as a context manager: leaving waits for the threads, so that what they wait for must be
    ended before.

    Args:
        progress: Told what is waited for, and what was done meanwhile.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pool = ThreadPoolExecutor(3)
        self._done: list[tuple[str, float]] = []

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def note(self, label: str) -> Iterator[None]:
        """Take note of a stage, as a `Progress` for what runs in a thread."""
        start = time.monotonic()
        yield
        self._done.append((label, time.monotonic() - start))

    def start(self, label: str, function: Callable[[], R]) -> Callable[[], R]:
        """Call ``function`` in a thread; return what waits for its result.

        Args:
            label: What it is waited for, to a person.
            function: Given no progress of its own but `note`.
        """
        result_of = self.submit(function)

        def wait() -> R:
            with self._progress(label):
                result = result_of()
            for stage, seconds in self._done:
                with self._progress(f"meanwhile: {stage}: {seconds:.1f} s"):
                    pass
            self._done.clear()
            return result

        return wait

    def submit(self, function: Callable[[], R]) -> Callable[[], R]:
        """Call ``function`` in a thread, as a part of what another one does there.

        Returns:
            What waits for its result, and tells nothing.
        """
        return self._pool.submit(function).result
