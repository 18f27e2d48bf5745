"""Differences between one output of an artifact and the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.parity.tolerance import Tolerance


@dataclass(frozen=True, slots=True)
class Difference:
    """One output on one sample against the reference.

    Attributes:
        elements: How many elements were compared.
        mismatches: How many are outside the tolerance.
        max_abs: The largest absolute difference.
        max_rel: The largest difference relative to the reference's element, zeros left out.
        rms: The root mean square of the reference.
        worst: The largest difference over what the tolerance allows there; passes up to 1.
        worst_index: The element where that is.
        problem: What is wrong besides differences, such as a NaN; None if nothing.
    """

    elements: int
    mismatches: int
    max_abs: float
    max_rel: float
    rms: float
    worst: float
    worst_index: tuple[int, ...]
    problem: str | None = None


def compare(
    actual: NDArray[Any], reference: NDArray[Any], tolerance: Tolerance, noise: float = 0.0
) -> Difference:
    """Compare arrays of one shape and dtype; ``noise`` is added to what is allowed.

    NaN and infinity are looked at first: a NaN never passes, on either side; infinities must
    stand at the same elements with the same sign. Integers, booleans and strings must be
    equal.
    """
    if reference.dtype.kind in "fcV":  # ml_dtypes' bfloat16 has kind V
        return _compare_numbers(_widen(actual), _widen(reference), tolerance, noise)
    different = np.asarray(actual != reference)
    count = int(different.sum())
    return Difference(
        elements=reference.size,
        mismatches=count,
        max_abs=_largest_step(actual, reference),
        max_rel=0.0,
        rms=0.0,
        worst=float("inf") if count else 0.0,
        worst_index=_first(different) if count else (),
    )


def _compare_numbers(actual: Any, reference: Any, tolerance: Tolerance, noise: float) -> Difference:
    problem = _special_values(actual, reference)
    finite = np.isfinite(reference) & np.isfinite(actual)
    rms = float(np.sqrt(np.mean(np.abs(reference[finite]) ** 2))) if finite.any() else 0.0
    gap = np.zeros(reference.shape)
    np.abs(np.subtract(actual, reference, where=finite, out=np.zeros_like(reference)), out=gap)
    size = np.where(finite, np.abs(reference), 0.0)
    allowed = tolerance.atol * rms + tolerance.rtol * size + noise
    share = np.divide(gap, allowed, where=allowed > 0, out=np.where(gap > 0, np.inf, 0.0))
    worst_at = np.unravel_index(np.argmax(share), share.shape) if share.size else ()
    relative = np.divide(gap, size, where=size > 0, out=np.zeros_like(gap))
    return Difference(
        elements=reference.size,
        mismatches=int((share > 1).sum()) + int((~_same_specials(actual, reference)).sum()),
        max_abs=float(gap.max(initial=0.0)),
        max_rel=float(relative.max(initial=0.0)),
        rms=rms,
        worst=float(share.max(initial=0.0)),
        worst_index=tuple(int(axis) for axis in worst_at),
        problem=problem,
    )


def _special_values(actual: Any, reference: Any) -> str | None:
    for owner, array in (("the layer itself", reference), ("the artifact", actual)):
        nans = np.isnan(array)
        if nans.any():
            return f"{owner} gives {int(nans.sum())} NaN, the first at {_first(nans)}"
    odd = ~_same_specials(actual, reference)
    if odd.any():
        at = _first(odd)
        return (
            f"infinities differ at {int(odd.sum())} elements, the first at {at}: "
            f"the artifact gives {actual[at]}, the layer {reference[at]}"
        )
    return None


def _same_specials(actual: Any, reference: Any) -> Any:
    """Return, by element, whether both are finite or both the same infinity."""
    return (np.isfinite(actual) & np.isfinite(reference)) | (actual == reference)


def _widen(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _largest_step(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    if reference.dtype.kind not in "iu" or not reference.size:
        return 0.0
    # Python integers: uint64 differences do not fit any NumPy dtype.
    return float(np.abs(actual.astype(object) - reference.astype(object)).max())


def _first(mask: Any) -> tuple[int, ...]:
    return tuple(int(axis[0]) for axis in np.nonzero(mask))
