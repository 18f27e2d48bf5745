"""`Session`: a loaded layer or artifact that runs on samples and is timed."""

from __future__ import annotations

import time
from typing import Any

from hubopt.exporter import Runner
from hubopt.latency.protocol import time_calls
from hubopt.latency.statistics import Timing


class Session:
    """The common base of the sessions of layers and artifacts."""

    def __init__(self, import_ms: float | None, load_ms: float | None) -> None:
        self._import_ms = import_ms
        self._load_ms = load_ms
        self._first_ms = 0.0
        self._samples: list[dict[str, Any]] = []
        self._runner: Runner

    def _run(self, sample: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        result = self._runner.run(sample)
        self._first_ms = self._first_ms or since(start)
        return result

    def time_calls(self, count: int) -> tuple[float, ...]:
        """Time ``count`` calls on the first sample, in milliseconds."""
        return time_calls(self._runner, self._samples[0], count)

    def timing(self) -> Timing:
        """Return how long importing, loading and the first call took."""
        return Timing(self._import_ms, self._load_ms, self._first_ms, ())

    def device(self) -> str:
        """Return the device that it computes on."""
        return self._runner.device


def since(start: float) -> float:
    """Return the milliseconds since ``start``, a time of `time.perf_counter`."""
    return (time.perf_counter() - start) * 1e3
