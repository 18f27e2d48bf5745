"""`LiveProgress`: which steps run, for how long, and what runs beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class LiveProgress:
    """Reports steps on a console; see `hubopt.progress.Progress` for its methods.

    On a terminal, every running step has a line with the time that it has taken, those of the
    background included. Elsewhere, as in a CI job, a step is one line when it begins and one when
    it ends.

    Args:
        console: Where to report.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = Lock()
        self._live: Progress | None = None
        self._running = 0
        self._beside: list[str] = []

    @contextmanager
    def __call__(self, label: str) -> Iterator[None]:
        """Report a step: while it runs, and when it has ended."""
        start = time.monotonic()
        if not self._console.is_terminal:
            self._print(f"     ...  {label}{self._waits_for()}")
        with self._row(label):
            yield
        self._print_end(time.monotonic() - start, label)

    @contextmanager
    def beside(self, label: str) -> Iterator[None]:
        """Show a step of a background thread while it runs; its end is reported elsewhere."""
        with self._lock:
            self._beside.append(label)
        try:
            with self._row(f"beside: {label}"):
                yield
        finally:
            with self._lock:
                self._beside.remove(label)

    def finished(self, label: str) -> None:
        """Report a step that took no time."""
        self._print_end(0.0, label)

    def _waits_for(self) -> str:
        with self._lock:
            return f" (beside: {', '.join(self._beside)})" if self._beside else ""

    @contextmanager
    def _row(self, label: str) -> Iterator[None]:
        """Keep a line on the terminal; the first step starts the display, the last one ends it."""
        task = self._begin(label) if self._console.is_terminal and not self._console.quiet else None
        try:
            yield
        finally:
            if task is not None:
                self._end(task)

    def _begin(self, label: str) -> TaskID:
        # Imported only here: a command that shows nothing starts faster without.
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._live is None:
                self._live = Progress(
                    SpinnerColumn(),
                    TimeElapsedColumn(),
                    TextColumn("{task.description}", markup=False),
                    console=self._console,
                    transient=True,
                )
                self._live.start()
            self._running += 1
            return self._live.add_task(label, total=None)

    def _end(self, task: TaskID) -> None:
        with self._lock:
            assert self._live is not None
            self._live.remove_task(task)
            self._running -= 1
            if not self._running:
                self._live.stop()
                self._live = None

    def _print_end(self, seconds: float, label: str) -> None:
        self._print(f"{seconds:6.1f} s  {label}")

    def _print(self, line: str) -> None:
        self._console.print(Text(line, style="dim"))
