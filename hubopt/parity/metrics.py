"""Differences between one output of an artifact and the reference, independent of a tolerance.

A `Difference` is enough to judge two arrays under any `Tolerance` later, without the arrays: see
`Difference.front`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._util.short_repr import short_repr
from hubopt.parity.class_like import top_agreement
from hubopt.parity.tolerance import TOLERANCES, Tolerance

_NEARLY_ALL = 0.999
Point = tuple[float, float, int]
"""The size of a reference element, the difference there, and the element's flat index."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of one output from the reference on one sample.

    Attributes:
        shape: The output's shape.
        exact: Whether the dtype requires equality: integers, booleans, strings.
        unequal: How many elements are not equal.
        max_abs: The largest absolute difference.
        p999_abs: The 99.9 % quantile of the absolute differences.
        max_rel: The largest difference relative to the reference's element, without zeros.
        p999_rel: The 99.9 % quantile of the relative differences.
        max_ulps: The largest difference in units in the last place of the output's dtype; None
            for dtypes without such units, and for empty outputs.
        largest: The largest absolute value of the reference.
        rms: The root mean square of the reference.
        rms_error: The root mean square of the difference.
        cosine: The cosine of the angle between the two; 1 if both are zero.
        rows: How many rows of classes the output has; 0 if it is not class-like.
        top1: In how many rows the best class is the same.
        topk: In how many rows the best classes are the same set, see `hubopt.parity.class_like`.
        outside: How many elements exceed the bound, by each tolerance class that has a bound for
            elements.
        front: The elements that decide under any ``rtol`` and ``atol``: the upper convex hull of
            the points (size, difference), up to the largest difference.
        problem: A problem other than a difference, such as a NaN; None if there is none.
    """

    shape: tuple[int, ...]
    exact: bool
    unequal: int
    max_abs: float
    p999_abs: float = 0.0
    max_rel: float = 0.0
    p999_rel: float = 0.0
    max_ulps: float | None = None
    largest: float = 0.0
    rms: float = 0.0
    rms_error: float = 0.0
    cosine: float = 1.0
    rows: int = 0
    top1: int = 0
    topk: int = 0
    outside: Mapping[str, int] = field(default_factory=dict)
    front: tuple[Point, ...] = ()
    problem: str | None = None

    __repr__ = short_repr

    @property
    def elements(self) -> int:
        """How many elements were compared."""
        return math.prod(self.shape)

    @property
    def sqnr_db(self) -> float:
        """The ratio of the reference's power to the error's in decibels; infinite if no error."""
        if self.rms_error == 0:
            return math.inf
        return 20 * math.log10(self.rms / self.rms_error) if self.rms else -math.inf

    def worst(self, tolerance: Tolerance, noise: float = 0.0) -> tuple[float, tuple[int, ...]]:
        """Return the largest share of the bound that an element uses, and the element's index.

        A share of up to 1 is a pass. The share is a quotient of two linear functions of size and
        difference, so it is largest at a corner of their convex hull.

        Args:
            tolerance: Its ``rtol`` and ``atol`` are used; if only one is missing, it counts as 0.
            noise: An absolute difference that is allowed in addition.
        """
        if tolerance.rtol is None and tolerance.atol is None:
            return 0.0, ()
        floor = (tolerance.atol or 0.0) * self.rms + noise
        best, at = 0.0, -1
        for size, gap, index in self.front:
            allowed = floor + (tolerance.rtol or 0.0) * size
            share = 0.0 if gap == 0 else gap / allowed if allowed > 0 else math.inf
            if share > best:
                best, at = share, index
        return best, self.place(at) if at >= 0 else ()

    def mismatches(self, tolerance: Tolerance) -> int | None:
        """Return how many elements exceed the bound; None for a bound that is not in the table."""
        if self.exact:
            return self.unequal
        for name, count in self.outside.items():
            entry = TOLERANCES[name]  # type: ignore[index]
            if (entry.rtol, entry.atol) == (tolerance.rtol, tolerance.atol):
                return count
        return None

    def place(self, index: int) -> tuple[int, ...]:
        """Return the index of an element from its flat index."""
        return tuple(int(axis) for axis in np.unravel_index(index, self.shape))


def distance(actual: NDArray[Any], reference: NDArray[Any]) -> tuple[float, float] | None:
    """Return only the ``max_abs`` and the ``rms_error`` of a `Difference` of numbers.

    The result is None if there is a problem other than a difference, see `Difference.problem`.
    """
    one, other = _widen(actual), _widen(reference)
    if _special_values(one, other):
        return None
    finite = np.isfinite(other)
    gap = np.abs(np.subtract(one, other, where=finite, out=np.zeros_like(other)))
    return float(gap.max(initial=0.0)), _rms(gap, int(finite.sum()))


def compare(actual: NDArray[Any], reference: NDArray[Any], name: str = "") -> Difference:
    """Measure how far ``actual`` is from ``reference``, which has the same shape.

    A NaN on either side is a problem. Infinities must be at the same elements with the same sign.

    Args:
        actual: The artifact's output.
        reference: The layer's output; it may be wider (float64 for a float32 output).
        name: The output's name, which may show that it is class-like.
    """
    if reference.dtype.kind in "fcV":  # ml_dtypes' bfloat16 has kind V
        with np.errstate(over="ignore"):  # a quotient of the smallest numbers is infinite
            return _compare_numbers(actual, reference, name)
    different = np.asarray(actual != reference)
    count = int(different.sum())
    return Difference(
        shape=reference.shape,
        exact=True,
        unequal=count,
        max_abs=_largest_step(actual, reference),
        front=((0.0, math.inf, int(np.argmax(different))),) if count else (),
    )


def compare_any(actual: NDArray[Any], reference: NDArray[Any], name: str = "") -> Difference:
    """Do the same for arrays that may differ in shape, which is a problem then.

    The size of an output may depend on the data, and another variant of the layer may find
    another number of elements.
    """
    if actual.shape == reference.shape:
        return compare(actual, reference, name)
    return Difference(
        shape=reference.shape,
        exact=reference.dtype.kind not in "fcV",
        unequal=0,
        max_abs=0.0,
        problem=f"its shape is {list(actual.shape)}, not {list(reference.shape)}",
    )


def _compare_numbers(narrow: NDArray[Any], reference: NDArray[Any], name: str) -> Difference:
    actual, wide = _widen(narrow), _widen(reference)
    finite = np.isfinite(wide) & np.isfinite(actual)
    gap = np.zeros(wide.shape)
    np.abs(np.subtract(actual, wide, where=finite, out=np.zeros_like(wide)), out=gap)
    size = np.where(finite, np.abs(wide), 0.0)
    relative = np.divide(gap, size, where=size > 0, out=np.zeros_like(gap))
    count = int(finite.sum())
    rows = top_agreement(actual, wide, name)
    rms = _rms(size, count)
    return Difference(
        shape=wide.shape,
        exact=False,
        unequal=int((gap > 0).sum()) + int((~_same_specials(actual, wide)).sum()),
        max_abs=float(gap.max(initial=0.0)),
        p999_abs=_nearly_all(gap),
        max_rel=float(relative.max(initial=0.0)),
        p999_rel=_nearly_all(relative),
        max_ulps=_ulps(gap, wide, narrow.dtype),
        largest=float(size.max(initial=0.0)),
        rms=rms,
        rms_error=_rms(gap, count),
        cosine=_cosine(np.where(finite, actual, 0), np.where(finite, wide, 0)),
        rows=rows.rows,
        top1=rows.top1,
        topk=rows.topk,
        outside=_outside(size, gap, rms),
        front=_front(size.ravel(), gap.ravel()),
        problem=_special_values(actual, wide),
    )


def _outside(size: Any, gap: Any, rms: float) -> dict[str, int]:
    return {
        name: int((gap > tolerance.atol * rms + tolerance.rtol * size).sum())
        for name, tolerance in TOLERANCES.items()
        if tolerance.atol is not None and tolerance.rtol is not None
    }


def _front(size: Any, gap: Any) -> tuple[Point, ...]:
    """Return the corners of the upper convex hull of (size, gap), up to the largest gap.

    Only an element whose gap is larger than the gap of every smaller element can be a corner, so
    only those few are considered.
    """
    if not gap.size:
        return ()
    order = np.argsort(size)  # many times faster than sorting by both size and gap
    highest = np.maximum.accumulate(gap[order])
    fresh = order[np.concatenate(([True], highest[1:] > highest[:-1]))]
    last_of_size = np.concatenate((size[fresh][1:] > size[fresh][:-1], [True]))
    corners: list[Point] = []
    for index in fresh[last_of_size]:
        point = (float(size[index]), float(gap[index]), int(index))
        while len(corners) > 1 and _is_below(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    return tuple(corners)


def _is_below(left: Point, middle: Point, right: Point) -> bool:
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (
        middle[0] - left[0]
    )


def _nearly_all(values: Any) -> float:
    return float(np.quantile(values, _NEARLY_ALL, method="higher")) if values.size else 0.0


def _rms(sizes: Any, count: int) -> float:
    """Return the root mean square; scaled so that squares neither overflow nor underflow."""
    largest = float(sizes.max(initial=0.0))
    if not count or not largest:
        return 0.0
    return largest * math.sqrt(float(np.sum((sizes / largest) ** 2)) / count)


def _cosine(actual: Any, reference: Any) -> float:
    one, other = (array / (np.abs(array).max(initial=0.0) or 1.0) for array in (actual, reference))
    # Without BLAS, whose threads would contend with those of the measured runtime.
    lengths = math.sqrt(float(np.sum(np.abs(one) ** 2)) * float(np.sum(np.abs(other) ** 2)))
    if not lengths:
        return 1.0 if not one.any() and not other.any() else 0.0
    return float(np.real(np.sum(np.conj(other) * one)) / lengths)


def _ulps(gap: Any, reference: Any, dtype: np.dtype[Any]) -> float | None:
    """Return the largest gap in units in the last place of the reference, rounded to ``dtype``."""
    if dtype.kind == "c" or not gap.size:
        return None
    if dtype.kind == "V":
        import ml_dtypes

        limits: Any = ml_dtypes.finfo(dtype)
    else:
        limits = np.finfo(dtype)
    size = np.where(np.isfinite(reference), np.abs(reference), 1.0)
    exponent = np.floor(np.log2(np.maximum(size, float(limits.smallest_normal))))
    return float((gap / np.exp2(exponent - int(limits.nmant))).max())


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
    """Return, for each element, whether both are finite or both are the same infinity."""
    return (np.isfinite(actual) & np.isfinite(reference)) | (actual == reference)


def _widen(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _largest_step(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    if reference.dtype.kind not in "iu" or not reference.size:
        return 0.0
    # Python integers, because differences of uint64 do not fit any NumPy dtype.
    return float(np.abs(actual.astype(object) - reference.astype(object)).max())


def _first(mask: Any) -> tuple[int, ...]:
    return tuple(int(axis[0]) for axis in np.nonzero(mask))
