"""Differences against a tolerance: what there is to complain about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from hubopt.parity.deviations import STILL, Deviation
from hubopt.parity.metrics import Difference
from hubopt.parity.tolerance import Tolerance

_ROUNDING = 2.0**-22
"""Two units in the last place of a float32 just above 1. Where an output is all but zero on one
sample, what is left is what cancelled out, and that was rounded at the usual size; some
runtimes' sigmoids are off by as much near 0 as near 1."""

NOISE_FACTOR = 4.0
"""How often the largest move of the layer is allowed. Another way to compute it is another draw
of the same noise; of three draws on one sample of basic-pitch the largest was four times the
smallest, and twice was too little for clean exports on 1 of 50 seeds."""


def complaints(
    differences: Sequence[Difference], tolerance: Tolerance, noise: Deviation = STILL
) -> list[str]:
    """Return what leaves the tolerance, one sentence for each sample; empty if nothing does.

    Args:
        differences: One output, one for each sample.
        tolerance: What it is held to.
        noise: What the layer itself moves, and is allowed besides.
    """
    rounding = usual_rounding(differences, tolerance)
    found = [
        f"sample {at}: {problem}"
        for at, difference in enumerate(differences)
        if (problem := complaint(difference, tolerance, noise, rounding))
    ]
    return found + complaints_of_all(differences, tolerance)


def complaint(
    difference: Difference, tolerance: Tolerance, noise: Deviation, rounding: float
) -> str | None:
    """Return what one sample leaves the tolerance by; None if it does not.

    Args:
        difference: One output on one sample.
        tolerance: What it is held to.
        noise: What the layer itself moves there, and is allowed besides.
        rounding: The rounding of the output's usual size, see `usual_rounding`.
    """
    if difference.problem:
        return difference.problem
    # What the user stated holds as stated; the allowances belong to the classes of the table.
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
    """What one bound is widened by: the layer's own noise, and the rounding of float32."""

    noise: Deviation
    rounding: float


def _allowed(
    noise: Deviation, rounding: float, tolerance: Tolerance
) -> tuple[_Allowance, _Allowance]:
    """Return what the bound of each element, and that of the signal-to-noise ratio, allow."""
    usual = _Allowance(STILL if tolerance.strict else noise, rounding)
    none = _Allowance(STILL, 0.0)
    return (
        none if tolerance.states_elements else usual,
        none if tolerance.states_sqnr else usual,
    )


def complaints_of_all(differences: Sequence[Difference], tolerance: Tolerance) -> list[str]:
    """Return what there is to say against all samples together."""
    if not any(each.elements for each in differences):
        return ["it has no elements, so nothing was compared"]
    rows = sum(each.rows for each in differences)
    share = sum(each.top1 for each in differences) / rows if rows else 1.0
    if tolerance.top1 is not None and share < tolerance.top1:
        return [f"top-1 agrees in {share:.2%} of {rows} rows, {tolerance.top1:.0%} wanted"]
    return []


def usual_rounding(differences: Sequence[Difference], tolerance: Tolerance) -> float:
    """Return how far float32 rounds an output of the usual size: the median of the samples'.

    Where the user wants equality, by ``rtol`` and ``atol`` of 0, there is none.
    """
    if not differences or (tolerance.rtol, tolerance.atol) == (0, 0):
        return 0.0
    return _ROUNDING * median([each.largest for each in differences])


def largest_share(differences: Sequence[Difference], tolerance: Tolerance) -> float:
    """Return the largest share of the bound that any element uses; passes up to 1."""
    rounding = 0.0 if tolerance.states_elements else usual_rounding(differences, tolerance)
    return max(
        (math.inf if each.problem else each.worst(tolerance, rounding)[0] for each in differences),
        default=0.0,
    )


def leaves_stated(difference: Difference, tolerance: Tolerance) -> bool:
    """Whether a sample leaves a bound that the user stated; no other way to compute excuses it."""
    if difference.exact:
        return tolerance.states_elements
    return complaint(difference, tolerance.only_stated(), STILL, 0.0) is not None
