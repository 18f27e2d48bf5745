"""A progress that keeps what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Recorder:
    """Give it as ``progress``.

    Attributes:
        labels: What began, in order.
    """

    def __init__(self) -> None:
        self.labels: list[str] = []

    @contextmanager
    def __call__(self, label: str) -> Iterator[None]:
        self.labels.append(label)
        yield
