"""Progress reports: stages that run one after the other, and stages in background threads."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ParamSpec, TypeVar

from hubopt._util.escaping import printable

P = ParamSpec("P")
R = TypeVar("R")

Progress = Callable[[str], AbstractContextManager[object]]
"""Called with a label when a step begins; the context ends when the step ends.

It may have two more methods. ``beside(label)`` is the same for a step of a background thread.
``finished(label)`` is called for a step that takes no time, such as one from the cache.
"""


def quiet(label: str) -> AbstractContextManager[object]:
    """Report no progress."""
    return nullcontext()


@contextmanager
def to_stderr(label: str) -> Iterator[None]:
    """Write the label and the duration of a step to standard error when it ends.

    A ready-made callback: ``hubopt.export(model, ["onnx"], "out", progress=to_stderr)``.
    """
    start = time.monotonic()
    failed = " (failed)"
    try:
        yield
        failed = ""
    finally:
        if sys.stderr is not None:
            line = f"{time.monotonic() - start:6.1f} s  {printable(label)}{failed}"
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def report_done(progress: Progress, label: str) -> None:
    """Report a step that is done already."""
    finished: Callable[[str], object] | None = getattr(progress, "finished", None)
    if finished is not None:
        finished(label)
        return
    with progress(label):
        pass


class Background:
    """A few threads for work whose result is needed later; its stages are reported then.

    Use it as a context manager: leaving waits for the threads, so whatever they wait for must end
    before that.

    Args:
        progress: Called with a label for a wait, and for every stage that was done meanwhile.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pool = ThreadPoolExecutor(3)
        self._done: list[tuple[str, float]] = []
        self._start = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """The time since this object was made."""
        return time.monotonic() - self._start

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def note(self, label: str) -> Iterator[None]:
        """Record a stage and its duration; this is the `Progress` for work in a thread."""
        start = time.monotonic()
        beside: Progress = getattr(self._progress, "beside", quiet)
        with beside(label):
            yield
        self._done.append((label, time.monotonic() - start))

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call ``function`` in a thread; if it reports progress, pass `note` to it."""
        return self._pool.submit(function, *args, **kwargs)

    def wait(self, future: Future[R], label: str) -> R:
        """Return the result of ``future``; if it is not ready yet, report the wait as ``label``.

        The stages that the threads have completed by then are reported, too.
        """
        if not future.done():
            with self._progress(label):
                future.exception()
        done, self._done = self._done, []
        for stage, seconds in done:
            report_done(self._progress, f"meanwhile: {stage}: {seconds:.1f} s")
        return future.result()


def done(value: R) -> Future[R]:
    """Return a completed future with the result ``value``."""
    future: Future[R] = Future()
    future.set_result(value)
    return future
