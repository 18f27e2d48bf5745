"""A progress callback that records the labels it is called with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Recorder:
    """Pass an instance as ``progress``.

    Attributes:
        labels: The labels of the steps that began, in order.
    """

    def __init__(self) -> None:
        self.labels: list[str] = []

    @contextmanager
    def __call__(self, label: str) -> Iterator[None]:
        self.labels.append(label)
        yield
