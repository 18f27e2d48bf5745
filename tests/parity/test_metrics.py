import re

import numpy as np
import pytest

from hubopt.parity.metrics import compare
from hubopt.parity.tolerance import Tolerance

EXACT = Tolerance(rtol=0.0, atol=0.0)
LOOSE = Tolerance(rtol=1e9, atol=1e9)
REFERENCE = np.float32([1, 2, 3, 4])


def changed(at: int, value: float) -> np.ndarray:
    array = REFERENCE.copy()
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("actual", "reference", "told"),
    [
        (changed(2, np.nan), REFERENCE, r"the artifact gives 1 NaN, the first at \(2,\)"),
        (changed(2, np.nan), changed(2, np.nan), "the layer itself gives 1 NaN"),
        (REFERENCE, changed(0, np.nan), "the layer itself gives 1 NaN"),
        (changed(1, np.inf), REFERENCE, "infinities differ at 1 elements"),
        (changed(1, np.inf), changed(1, -np.inf), "the artifact gives inf, the layer -inf"),
    ],
)
def test_no_tolerance_lets_nan_or_other_infinities_pass(
    actual: np.ndarray, reference: np.ndarray, told: str
) -> None:
    difference = compare(actual, reference, LOOSE)
    assert difference.problem is not None
    assert re.search(told, difference.problem)
    assert difference.mismatches >= 1


def test_the_same_infinity_passes() -> None:
    difference = compare(changed(1, np.inf), changed(1, np.inf), EXACT)
    assert difference.problem is None
    assert difference.mismatches == 0


def test_the_bound_is_atol_times_rms_plus_rtol_times_element() -> None:
    rms = np.sqrt(np.mean(REFERENCE.astype(float) ** 2))
    tolerance = Tolerance(rtol=0.01, atol=0.1)
    bound = 0.1 * rms + 0.01 * 3
    inside = compare(changed(2, 3 + 0.99 * bound), REFERENCE, tolerance)
    outside = compare(changed(2, 3 + 1.01 * bound), REFERENCE, tolerance)
    assert inside.mismatches == 0
    assert inside.worst == pytest.approx(0.99, rel=1e-3)
    assert outside.mismatches == 1
    assert outside.worst_index == (2,)
    assert outside.rms == pytest.approx(rms)


def test_the_bound_does_not_depend_on_scale() -> None:
    tolerance = Tolerance(rtol=1e-3, atol=1e-3)
    small, large = (
        compare(scale * changed(0, 1.01), scale * REFERENCE, tolerance) for scale in (1e-20, 1e20)
    )
    assert small.worst == pytest.approx(large.worst, rel=1e-3)


@pytest.mark.parametrize(
    ("actual", "reference", "mismatches"),
    [
        (np.int64([1, 2]), np.int64([1, 3]), 1),
        (np.array([True, False]), np.array([True, True]), 1),
        (np.array([b"a", b"b"], object), np.array([b"a", b"c"], object), 1),
        (np.array([b"a"], object), np.array([b"a"], object), 0),
        (np.uint64([2**64 - 1]), np.uint64([0]), 1),
    ],
)
def test_integers_booleans_and_strings_must_be_equal(
    actual: np.ndarray, reference: np.ndarray, mismatches: int
) -> None:
    difference = compare(actual, reference, LOOSE)
    assert difference.mismatches == mismatches
    assert (difference.worst > 1) == bool(mismatches)


def test_zero_reference_allows_zero_only() -> None:
    zeros = np.zeros(3, np.float32)
    assert compare(zeros, zeros, EXACT).mismatches == 0
    assert compare(zeros + 1e-6, zeros, LOOSE).mismatches == 3


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
def test_scalars_and_empty_arrays_compare(shape: tuple[int, ...]) -> None:
    ones = np.ones(shape, np.float32)
    assert compare(ones, ones, EXACT).mismatches == 0


def test_complex_numbers_compare_by_distance() -> None:
    reference = np.complex64([1 + 1j, 2j])
    assert compare(reference + 0.1j, reference, Tolerance(rtol=0.0, atol=1e-3)).mismatches == 2
