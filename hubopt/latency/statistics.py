"""Compute the reported figures from raw timings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hubopt._util.short_repr import short_repr


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one runner takes, in milliseconds, from host memory to host memory.

    Attributes:
        import_ms: The import of the runtime, in a fresh process; None for a live layer.
        load_ms: From the imported runtime to a model that can be called; None for a live layer.
        first_ms: The first call, which may compile.
        rounds_ms: Every call of every round, in the steady state.
    """

    import_ms: float | None
    load_ms: float | None
    first_ms: float
    rounds_ms: tuple[tuple[float, ...], ...]

    __repr__ = short_repr

    @property
    def p50_ms(self) -> float:
        """The median over all calls of all rounds."""
        return percentile(self.rounds_ms, 50)

    @property
    def p95_ms(self) -> float:
        """The 95th percentile over all calls of all rounds."""
        return percentile(self.rounds_ms, 95)


@dataclass(frozen=True, slots=True)
class Latency:
    """The timings of an artifact and of the eager layer, with rounds interleaved in one run.

    Attributes:
        artifact: The artifact's timing.
        layer: The eager layer's timing; None if the layer was not available.
        no_layer: Why the layer was not available; None if it was.
    """

    artifact: Timing
    layer: Timing | None
    no_layer: str | None = None

    @property
    def ratio(self) -> float | None:
        """The artifact's time over the layer's: the median of the ratios of paired rounds."""
        if self.layer is None:
            return None
        pairs = zip(self.artifact.rounds_ms, self.layer.rounds_ms, strict=True)
        return float(np.median([np.median(ours) / np.median(theirs) for ours, theirs in pairs]))


def percentile(rounds_ms: Sequence[Sequence[float]], rank: float) -> float:
    """Return a percentile over all calls of all rounds."""
    return float(np.percentile([call for calls in rounds_ms for call in calls], rank))
