"""The measurements of two arrays, which suffice to judge them under any tolerance."""

from __future__ import annotations

import math
import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubopt.parity.judging import complaints
from hubopt.parity.metrics import compare, distance
from hubopt.parity.tolerance import TOLERANCES, Tolerance

EXACT = Tolerance(rtol=0.0, atol=0.0)
LOOSE = Tolerance(rtol=1e9, atol=1e9)
REFERENCE = np.float32([1, 2, 3, 4])
NUMBERS = st.floats(-10, 10, allow_subnormal=False)


def changed(at: int, value: float) -> np.ndarray:
    array = REFERENCE.copy()
    array[at] = value
    return array


def problems(actual: np.ndarray, reference: np.ndarray, tolerance: Tolerance) -> str:
    return "; ".join(complaints((compare(actual, reference),), tolerance))


@pytest.mark.parametrize(
    ("actual", "reference", "text"),
    [
        (changed(2, np.nan), REFERENCE, r"the artifact gives 1 NaN, the first at \(2,\)"),
        (changed(2, np.nan), changed(2, np.nan), "the layer itself gives 1 NaN"),
        (REFERENCE, changed(0, np.nan), "the layer itself gives 1 NaN"),
        (changed(1, np.inf), REFERENCE, "infinities differ at 1 elements"),
        (changed(1, np.inf), changed(1, -np.inf), "the artifact gives inf, the layer -inf"),
    ],
)
def test_no_tolerance_lets_nan_or_other_infinities_pass(
    actual: np.ndarray, reference: np.ndarray, text: str
) -> None:
    for tolerance in (LOOSE, Tolerance(), TOLERANCES["int8-static"]):
        assert re.search(text, problems(actual, reference, tolerance))


def test_the_same_infinity_passes() -> None:
    assert problems(changed(1, np.inf), changed(1, np.inf), EXACT) == ""


def test_the_bound_is_atol_times_rms_plus_rtol_times_element() -> None:
    rms = np.sqrt(np.mean(REFERENCE.astype(float) ** 2))
    tolerance = Tolerance(rtol=0.01, atol=0.1)
    bound = 0.1 * rms + 0.01 * 3
    inside = compare(changed(2, 3 + 0.99 * bound), REFERENCE)
    outside = compare(changed(2, 3 + 1.01 * bound), REFERENCE)
    assert inside.worst(tolerance) == (pytest.approx(0.99, rel=1e-3), (2,))
    assert outside.worst(tolerance) == (pytest.approx(1.01, rel=1e-3), (2,))
    assert outside.rms == pytest.approx(rms)
    assert complaints((inside,), tolerance) == []
    (problem,) = complaints((outside,), tolerance)
    assert "the worst at (2,) by 1.01 times the bound" in problem


def test_the_bound_does_not_depend_on_scale() -> None:
    tolerance = Tolerance(rtol=1e-3, atol=1e-3)
    small, large = (
        compare(scale * changed(0, 1.01), scale * REFERENCE).worst(tolerance)[0]
        for scale in (1e-20, 1e20)
    )
    assert small == pytest.approx(large, rel=1e-3)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=60),
    st.floats(0, 0.1),
    st.floats(0, 0.1),
    st.floats(0, 1e-3),
)
def test_the_kept_elements_give_the_same_verdict_as_all_elements(
    points: list[tuple[float, float]], rtol: float, atol: float, noise: float
) -> None:
    """The corners of the hull give the same worst share as all elements, for any bounds."""
    reference = np.array([size for size, _ in points])
    actual = reference + np.array([gap for _, gap in points])
    gap = np.abs(actual - reference)
    difference = compare(actual, reference)
    allowed = atol * difference.rms + noise + rtol * np.abs(reference)
    with np.errstate(all="ignore"):
        shares = np.where(gap > 0, gap / allowed, 0.0)
    found, at = difference.worst(Tolerance(rtol=rtol, atol=atol), noise)
    assert math.isclose(found, float(shares.max()))
    if at:
        assert math.isclose(shares[at], found)


def test_few_elements_are_kept() -> None:
    generator = np.random.default_rng(0)
    reference = generator.standard_normal(1_000_000)
    difference = compare(reference + 1e-6 * generator.standard_normal(1_000_000), reference)
    assert 1 <= len(difference.front) < 60


def test_percentiles_shares_and_counts() -> None:
    reference = np.ones(10_000, np.float32)
    actual = reference.copy()
    actual[:5] += 1.0  # less than one in a thousand
    actual[5] += 2e-3
    difference = compare(actual, reference)
    assert difference.max_abs == 1.0
    assert difference.p999_abs == 0.0
    assert difference.unequal == 6
    assert difference.outside["fp32"] == 6
    assert difference.outside["fp16"] == 5
    assert difference.mismatches(TOLERANCES["fp16"]) == 5
    assert difference.mismatches(Tolerance(rtol=0.3, atol=0.1)) is None


def test_sqnr_is_the_ratio_of_powers_in_decibels() -> None:
    reference = np.full(100, 10.0)
    assert compare(reference + 0.01, reference).sqnr_db == pytest.approx(60.0)
    assert compare(reference, reference).sqnr_db == math.inf
    assert compare(reference, np.zeros(100)).sqnr_db == -math.inf
    assert "SQNR is 60.0 dB, 80 dB wanted" in problems(
        reference + 0.01, reference, Tolerance(sqnr_db=80.0)
    )


def test_many_small_errors_fail_where_each_alone_would_pass() -> None:
    """A rounded layer looks like this: no single element stands out, but all are off."""
    reference = np.random.default_rng(0).standard_normal(1000)
    actual = reference * (1 + 9e-4 * np.sign(reference))
    assert complaints((compare(actual, reference),), Tolerance(rtol=1e-3, atol=1e-4)) == []
    assert complaints((compare(actual, reference),), TOLERANCES["xla"])


def test_cosine_is_scale_free_and_survives_large_and_small_numbers() -> None:
    for scale in (1e-200, 1.0, 1e200):
        one, other = scale * np.array([1.0, 0.0]), scale * np.array([1.0, 1.0])
        assert compare(one, other).cosine == pytest.approx(math.sqrt(0.5))
    assert compare(np.zeros(3), np.zeros(3)).cosine == 1.0
    assert compare(np.ones(3), np.zeros(3)).cosine == 0.0


@pytest.mark.parametrize(
    ("dtype", "eps"),
    [
        (np.float32, np.finfo(np.float32).eps),
        (np.float16, np.finfo(np.float16).eps),
        (ml_dtypes.bfloat16, float(ml_dtypes.finfo(ml_dtypes.bfloat16).eps)),
    ],
)
def test_ulps_count_in_the_artifacts_own_precision(dtype: type, eps: float) -> None:
    reference = np.array([1.0, 1.0], dtype)
    actual = np.array([1.0, 1.0 + 3 * float(eps)], dtype)
    assert compare(actual, reference).max_ulps == 3
    wide = np.array([1.0, 1.0], np.float64)
    assert compare(actual, wide).max_ulps == 3


@pytest.mark.parametrize(
    ("actual", "reference", "count"),
    [
        (np.int64([1, 2]), np.int64([1, 3]), 1),
        (np.array([True, False]), np.array([True, True]), 1),
        (np.array([b"a", b"b"], object), np.array([b"a", b"c"], object), 1),
        (np.array([b"a"], object), np.array([b"a"], object), 0),
        (np.uint64([2**64 - 1]), np.uint64([0]), 1),
    ],
)
def test_integers_booleans_and_strings_must_be_equal(
    actual: np.ndarray, reference: np.ndarray, count: int
) -> None:
    difference = compare(actual, reference)
    assert difference.unequal == count
    assert bool(complaints((difference,), LOOSE)) == bool(count)


def test_zero_reference_allows_zero_only() -> None:
    zeros = np.zeros(3, np.float32)
    assert problems(zeros, zeros, EXACT) == ""
    assert "differ by more than allowed" in problems(zeros + 1e-6, zeros, LOOSE)


def test_a_cancelled_output_is_judged_by_the_size_of_the_other_samples() -> None:
    """A sample whose output is nearly zero may hold rounding errors, but not larger faults."""
    usual, residue = compare(np.ones(4), np.ones(4)), compare(np.full(4, 2e-7), np.zeros(4))
    assert complaints((residue,), TOLERANCES["fp32"])
    assert complaints((usual, usual, residue), TOLERANCES["fp32"]) == []
    fault = compare(np.full(4, 3e-6), np.zeros(4))
    assert complaints((usual, usual, fault), TOLERANCES["fp32"])


def test_one_large_sample_does_not_loosen_the_bounds_of_the_others() -> None:
    usual, loud = compare(np.ones(4), np.ones(4)), compare(np.full(4, 1e6), np.full(4, 1e6))
    fault = compare(np.ones(4) + 1e-3, np.ones(4))
    assert complaints((usual, usual, loud, fault), TOLERANCES["fp32"])


def test_a_sigmoid_near_zero_has_the_same_absolute_error_as_near_one() -> None:
    """Onnxruntime's has 9e-8 at 5e-3, on a sample where the whole output is that small."""
    usual = compare(np.array([0.001, 0.5, 0.99]), np.array([0.001, 0.5, 0.99]))
    faint = compare(np.full(3, 5.6e-3 + 9.3e-8), np.full(3, 5.6e-3))
    assert complaints((usual,) * 8 + (faint,), TOLERANCES["fp32"]) == []


def test_a_scalar_compares() -> None:
    one = np.ones((), np.float32)
    assert problems(one, one, EXACT) == ""
    assert "the worst at ()" in problems(2 * one, one, EXACT)


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_arrays_without_elements_do_not_differ(shape: tuple[int, ...]) -> None:
    assert problems(np.ones(shape), np.ones(shape), EXACT) == ""
    assert compare(np.ones(shape), np.ones(shape)).elements == 0


def test_complex_numbers_compare_by_distance() -> None:
    reference = np.complex64([1 + 1j, 2j])
    difference = compare(reference + 0.1j, reference)
    assert complaints((difference,), Tolerance(rtol=0.0, atol=1e-3))
    assert difference.max_abs == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "complex64", "bfloat16"])
def test_a_distance_equals_the_measurements_of_a_comparison(kind: str) -> None:
    dtype = np.dtype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    generator = np.random.default_rng(0)
    one, other = (generator.standard_normal((7, 9)).astype(dtype) for _ in range(2))
    one.flat[0] = other.flat[0] = np.inf
    difference = compare(one, other)
    assert distance(one, other) == (difference.max_abs, difference.rms_error)
    assert difference.max_abs > 0
    one.flat[1] = np.nan
    assert distance(one, other) is None


def test_among_elements_of_equal_size_the_farthest_counts() -> None:
    """This holds regardless of their order after sorting them by size."""
    sizes = np.repeat([1.0, 2.0, 3.0, 3.0], 8)
    for seed in range(20):
        gaps = np.random.default_rng(seed).random(sizes.size)
        found = compare(sizes + gaps, sizes)
        real = np.abs((sizes + gaps) - sizes)
        for rtol, atol in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5)):
            tolerance = Tolerance(rtol=rtol, atol=atol)
            bounds = atol * found.rms + rtol * sizes
            assert found.worst(tolerance)[0] == pytest.approx((real / bounds).max(), rel=1e-12)
        assert len({size for size, _, _ in found.front}) == len(found.front)
