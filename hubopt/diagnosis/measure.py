"""Measure the difference of a tensor from the reference, relative to the rounding noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.diagnosis.names import Alignment, alignments

Array = NDArray[Any]

LIMIT = 30.0
"""The largest difference that counts as rounding, in multiples of the rounding noise. Clean
exports of basic-pitch and of a MobileNetV2 reach 18."""
_FLOOR = 3e-6
"""The smallest rounding noise that is assumed, as a share of a tensor's rms. Clean exports reach
it where the float32 graph happens to be exact."""


@dataclass(frozen=True, slots=True)
class Measure:
    """The comparison of an artifact's tensor with the reference, over all samples.

    Attributes:
        share: The largest difference divided by the rms of the reference; infinite for a NaN or
            an infinity where the reference has none.
        sqnr_db: The ratio of the reference's power to the difference's power, in decibels.
        excess: The difference divided by the rounding noise: the largest of several ratios.
        alignment: The layout in which it was compared; None if the shapes do not fit.
    """

    share: float
    sqnr_db: float
    excess: float
    alignment: Alignment | None

    @property
    def diverges(self) -> bool:
        """Whether rounding does not explain the difference."""
        return self.excess > LIMIT


def measure(found: Sequence[Array], wide: Sequence[Array], narrow: Sequence[Array]) -> Measure:
    """Compare a tensor of an artifact with the reference, sample by sample.

    Args:
        found: The artifact's tensor, one array per sample.
        wide: The reference.
        narrow: The reference in float32.

    Returns:
        The comparison in the layout that fits best.
    """
    candidates = alignments(wide[0].shape, found[0].shape)
    if any(array.dtype.kind not in "fiub" for array in (*found, *wide)) or not candidates:
        return Measure(math.inf, -math.inf, math.inf, None)
    return min(
        (_measure(found, wide, narrow, layout) for layout in candidates),
        key=lambda error: error.excess,
    )


def _measure(
    found: Sequence[Array], wide: Sequence[Array], narrow: Sequence[Array], layout: Alignment
) -> Measure:
    shares, powers, excesses = [], [], []
    for array, reference, rounded in zip(found, wide, narrow, strict=True):
        want = reference.squeeze().astype(np.float64)
        share, power, excess = _measure_sample(
            layout.to_reference(array).astype(np.float64),
            want,
            rounded.squeeze().astype(np.float64),
        )
        shares.append(share)
        powers.append(power)
        excesses.append(excess)
    return Measure(max(shares), min(powers), max(excesses), layout)


def _measure_sample(got: Array, want: Array, rounded: Array) -> tuple[float, float, float]:
    """Return the largest difference over the rms, the SQNR and the excess of one sample."""
    finite = np.isfinite(want)
    if (
        not np.array_equal(got[~finite], want[~finite], equal_nan=True)
        or not np.isfinite(got[finite]).all()
    ):
        return math.inf, -math.inf, math.inf
    want, got = np.where(finite, want, 0.0), np.where(finite, got, 0.0)
    noise = np.where(finite & np.isfinite(rounded), rounded, want) - want
    gap = np.abs(got - want)
    scale = _rms(want) or float(np.finfo(np.float32).tiny)
    error = _rms(gap)
    excess = max(
        gap.max(initial=0.0) / max(np.abs(noise).max(initial=0.0), _FLOOR * scale),
        error / max(_rms(noise), _FLOOR / 3 * scale),
        *_by_channel(gap, want, noise, scale),
    )
    sqnr_db = 20 * math.log10(scale / error) if error else math.inf
    return float(gap.max(initial=0.0)) / scale, sqnr_db, float(excess)


def _by_channel(gap: Array, want: Array, noise: Array, scale: float) -> list[float]:
    """Return the largest ratio of the difference's rms to the noise's rms over the channels.

    Over the whole tensor, the noise of one channel can hide a fault in another channel.
    """
    if gap.ndim < 2 or gap.shape[-1] < 2:
        return []
    axes = tuple(range(gap.ndim - 1))
    error, rounding, size = (np.sqrt(np.mean(array**2, axis=axes)) for array in (gap, noise, want))
    floor = np.maximum(_FLOOR / 3 * np.maximum(size, 0.1 * scale), 0.3 * _rms(noise))
    return [float(np.max(error / np.maximum(rounding, floor)))]


def _rms(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array)))) if array.size else 0.0
