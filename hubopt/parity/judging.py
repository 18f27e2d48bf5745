"""Checking differences against a tolerance, and reporting where they exceed it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from hubopt.parity.deviations import STILL, Deviation
from hubopt.parity.metrics import Difference
from hubopt.parity.tolerance import Tolerance

_ROUNDING = 2.0**-22
"""Two units in the last place of a float32 just above 1. If an output is nearly zero on one
sample, it is what a cancellation left, and the terms were rounded at the usual size. Also, the
error of some runtimes' sigmoids is as large near 0 as near 1."""

NOISE_FACTOR = 4.0
"""The allowed difference, in multiples of the layer's largest deviation. Another variant is
another draw of the same noise. Of three draws on one sample of basic-pitch the largest was four
times the smallest, and a factor of two was too small for clean exports on 1 of 50 seeds."""


def complaints(
    differences: Sequence[Difference], tolerance: Tolerance, noise: Deviation = STILL
) -> list[str]:
    """Return one sentence for each sample that exceeds the tolerance; empty if none does.

    Args:
        differences: The differences of one output, one for each sample.
        tolerance: The output's tolerance.
        noise: The layer's own noise, which is allowed in addition.
    """
    rounding = usual_rounding(differences, tolerance)
    problems = [
        f"sample {at}: {problem}"
        for at, difference in enumerate(differences)
        if (problem := complaint(difference, tolerance, noise, rounding))
    ]
    return problems + complaints_of_all(differences, tolerance)


def complaint(
    difference: Difference, tolerance: Tolerance, noise: Deviation, rounding: float
) -> str | None:
    """Return how one sample exceeds the tolerance; None if it does not.

    Args:
        difference: The difference of one output on one sample.
        tolerance: The output's tolerance.
        noise: The layer's own noise on that sample, which is allowed in addition.
        rounding: The rounding of the output's usual size, see `usual_rounding`.
    """
    if difference.problem:
        return difference.problem
    # Nothing widens a bound that the user stated; only the table's bounds have allowances.
    elements, power = _allowed(noise, rounding, tolerance)
    if difference.exact:
        if difference.unequal <= elements.noise.largest:
            return None
        at = difference.place(difference.front[0][2])
        return f"{difference.unequal} of {difference.elements} elements differ, the first at {at}"
    slack = NOISE_FACTOR * elements.noise.largest + elements.rounding
    worst, at = difference.worst(tolerance, slack)
    if worst > 1:
        count = None if elements.noise.largest else difference.mismatches(tolerance)
        return (
            ("elements" if count is None else f"{count} of {difference.elements} elements")
            + f" differ by more than allowed, the worst at {at} by {worst:.3g} times the bound "
            f"(largest difference {difference.max_abs:.3g}, rms of the output {difference.rms:.3g})"
        )
    if tolerance.sqnr_db is not None:
        allowed = difference.rms * 10 ** (-tolerance.sqnr_db / 20)
        if difference.rms_error > allowed + NOISE_FACTOR * power.noise.rms + power.rounding:
            return f"SQNR is {difference.sqnr_db:.1f} dB, {tolerance.sqnr_db:g} dB wanted"
    if tolerance.cosine is not None and difference.cosine < tolerance.cosine:
        return f"cosine is {difference.cosine:.6f}, {tolerance.cosine:g} wanted"
    return None


class _Allowance(NamedTuple):
    """How much one bound is widened: by the layer's own noise and the rounding of float32."""

    noise: Deviation
    rounding: float


def _allowed(
    noise: Deviation, rounding: float, tolerance: Tolerance
) -> tuple[_Allowance, _Allowance]:
    """Return the allowances of the elements' bound and of the signal-to-noise ratio's bound."""
    usual = _Allowance(STILL if tolerance.strict else noise, rounding)
    none = _Allowance(STILL, 0.0)
    return (
        none if tolerance.states_elements else usual,
        none if tolerance.states_sqnr else usual,
    )


def complaints_of_all(differences: Sequence[Difference], tolerance: Tolerance) -> list[str]:
    """Return the problems of all samples together, such as the top-1 agreement."""
    rows = sum(difference.rows for difference in differences)
    share = sum(difference.top1 for difference in differences) / rows if rows else 1.0
    if tolerance.top1 is not None and share < tolerance.top1:
        return [f"top-1 agrees in {share:.2%} of {rows} rows, {tolerance.top1:.0%} wanted"]
    return []


def usual_rounding(differences: Sequence[Difference], tolerance: Tolerance) -> float:
    """Return the float32 rounding of an output of the usual size.

    The usual size is the median of the samples' largest values. The result is 0 if ``rtol`` and
    ``atol`` are 0, because the user requires equality then.
    """
    if not differences or (tolerance.rtol, tolerance.atol) == (0, 0):
        return 0.0
    return _ROUNDING * median([difference.largest for difference in differences])


def largest_share(differences: Sequence[Difference], tolerance: Tolerance) -> float:
    """Return the largest share of the bound that any element uses; up to 1 is a pass."""
    rounding = 0.0 if tolerance.states_elements else usual_rounding(differences, tolerance)
    return max(
        (
            math.inf if difference.problem else difference.worst(tolerance, rounding)[0]
            for difference in differences
        ),
        default=0.0,
    )


def leaves_stated(difference: Difference, tolerance: Tolerance) -> bool:
    """Whether a sample exceeds a bound that the user stated; no variant excuses that."""
    if difference.exact:
        return tolerance.states_elements
    return complaint(difference, tolerance.only_stated(), STILL, 0.0) is not None
