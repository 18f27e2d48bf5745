"""`Watch`: ends a download at its limits, whatever the server does."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from hubopt.errors import LimitError
from hubopt.models.limits import Limits

R = TypeVar("R")

_GRACE_S = 1.0
"""How long an abandoned thread may take to end by itself, before its files are removed."""


class Watch:
    """A time limit for all attempts at fetching one model.

    Args:
        thing: The subject of errors.
        limits: The limits.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, thing: str, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._thing = thing
        self._limits = limits
        self._clock = clock
        self._end = clock() + limits.download_s
        self._given_up = threading.Event()

    @property
    def left_s(self) -> float:
        """The remaining time; 0 when the time is over."""
        if self._given_up.is_set():
            return 0.0
        return max(0.0, self._end - self._clock())

    def run(self, work: Callable[[], R]) -> R:
        """Run ``work`` in a thread, and wait for it no longer than the remaining time.

        A server can send a header byte by byte, and no library returns before the header ends.
        In that case the thread is abandoned; it ends with its connection or with the process.

        Raises:
            LimitError: The time is over.
        """
        results: list[R] = []
        errors: list[BaseException] = []

        def do() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=do, daemon=True, name="hubopt-download")
        self.check()
        thread.start()
        try:
            thread.join(min(self.left_s, threading.TIMEOUT_MAX))
        finally:
            if thread.is_alive():
                self._given_up.set()
                thread.join(_GRACE_S)
        if self._given_up.is_set():
            raise self._too_long()
        if errors:
            raise errors[0]
        return results[0]

    def check(self) -> None:
        """Raise a LimitError if the time is over."""
        if self.left_s <= 0:
            raise self._too_long()

    def meter(self, received: int = 0) -> Meter:
        """Return a counter of the received bytes that starts at ``received``."""
        return Meter(self._thing, self._limits, self.check, received, self._clock)

    def _too_long(self) -> LimitError:
        return LimitError(
            self._thing,
            f"it was not downloaded within {self._limits.download_s:,g} seconds",
            "a download within that time, including all attempts and redirects",
            "raise the bound if the connection is that slow: --max-time 8h "
            "(Limits(download_s=...)); or download the model and pass its path",
        )


class Meter:
    """Counts the bytes of one download, and refuses too large or too slow a download."""

    def __init__(
        self,
        thing: str,
        limits: Limits,
        check: Callable[[], None],
        received: int,
        clock: Callable[[], float],
    ) -> None:
        self._thing = thing
        self._limits = limits
        self._check = check
        self._clock = clock
        self._received = received
        self._marks: deque[tuple[float, int]] = deque([(clock(), received)])

    def declare(self, size_bytes: int) -> None:
        """Refuse the download if its declared size is too large."""
        if size_bytes > self._limits.download_bytes:
            raise self._too_much(f"it takes {size_bytes:,} bytes to download")

    def add(self, size_bytes: int) -> None:
        """Count received bytes.

        Raises:
            LimitError: The download is too large, too slow, or takes too long.
        """
        self._received += size_bytes
        if self._received > self._limits.download_bytes:
            most = self._limits.download_bytes
            raise self._too_much(f"it takes more than {most:,} bytes to download")
        self._check()
        self._check_rate()

    def _check_rate(self) -> None:
        now, window = self._clock(), self._limits.rate_window_s
        self._marks.append((now, self._received))
        while len(self._marks) > 2 and self._marks[1][0] <= now - window:
            self._marks.popleft()
        then, before = self._marks[0]
        rate = (self._received - before) / max(now - then, 1e-9)
        if now - then >= window and rate < self._limits.min_rate:
            raise LimitError(
                self._thing,
                f"it arrives at {rate:,.1f} bytes a second; {self._received:,} bytes have arrived",
                f"at least {self._limits.min_rate:,} bytes a second, over {window:g} seconds",
                "lower the bound if the connection is that slow: --min-rate 100 "
                "(Limits(min_rate=...)); or download the model and pass its path",
            )

    def _too_much(self, found: str) -> LimitError:
        return LimitError(
            self._thing,
            found,
            f"at most {self._limits.download_bytes:,} bytes",
            "raise the bound if the model is meant to be that large: --max-download SIZE "
            "(Limits(download_bytes=...))",
        )
