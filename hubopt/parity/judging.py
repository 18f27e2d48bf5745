"""Differences against a tolerance: what there is to complain about."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hubopt.parity.metrics import Difference
from hubopt.parity.moves import STILL, Move
from hubopt.parity.tolerance import Tolerance

_FAINT = 1e-2
"""Of an output's largest rms. A sample on which the output is fainter is judged as if it were not:
what is left there is what cancelled out, and float32 rounds that at the size of what cancelled."""

_NOISE = 2.0
"""How often the largest move of the layer is allowed. Another way to compute it is another draw
of the same noise: of two draws, one may well be twice the other."""


def complaints(
    differences: Sequence[Difference], tolerance: Tolerance, noise: Move = STILL
) -> list[str]:
    """Return what leaves the tolerance, one sentence for each sample; empty if nothing does.

    Args:
        differences: One output, one for each sample.
        tolerance: What it is held to.
        noise: What the layer itself moves, and is allowed besides.
    """
    least_rms = faintest(differences)
    found = [
        f"sample {at}: {problem}"
        for at, difference in enumerate(differences)
        if (problem := complaint(difference, tolerance, noise, least_rms))
    ]
    return found + complaints_of_all(differences, tolerance)


def complaint(
    difference: Difference, tolerance: Tolerance, noise: Move, least_rms: float
) -> str | None:
    """Return what one sample leaves the tolerance by; None if it does not.

    Args:
        difference: One output on one sample.
        tolerance: What it is held to.
        noise: What the layer itself moves there, and is allowed besides.
        least_rms: What the output's rms counts as at least, see `faintest`.
    """
    if difference.problem:
        return difference.problem
    if difference.exact:
        if difference.unequal <= noise.largest:
            return None
        at = difference.place(difference.front[0][2])
        return f"{difference.unequal} of {difference.elements} elements differ, the first at {at}"
    worst, at = difference.worst(tolerance, _NOISE * noise.largest, least_rms)
    if worst > 1:
        count = None if noise.largest else difference.mismatches(tolerance)
        return (
            ("elements" if count is None else f"{count} of {difference.elements} elements")
            + f" differ by more than allowed, the worst at {at} by {worst:.3g} times the bound "
            f"(largest difference {difference.max_abs:.3g}, rms of the output {difference.rms:.3g})"
        )
    if tolerance.sqnr_db is not None:
        allowed = max(difference.rms, least_rms) * 10 ** (-tolerance.sqnr_db / 20)
        if difference.rms_error > allowed + _NOISE * noise.rms:
            return f"SQNR is {difference.sqnr_db:.1f} dB, {tolerance.sqnr_db:g} dB wanted"
    if tolerance.cosine is not None and difference.cosine < tolerance.cosine:
        return f"cosine is {difference.cosine:.6f}, {tolerance.cosine:g} wanted"
    return None


def complaints_of_all(differences: Sequence[Difference], tolerance: Tolerance) -> list[str]:
    """Return what there is to say against all samples together."""
    if not any(each.elements for each in differences):
        return ["it has no elements, so nothing was compared"]
    rows = sum(each.rows for each in differences)
    share = sum(each.top1 for each in differences) / rows if rows else 1.0
    if tolerance.top1 is not None and share < tolerance.top1:
        return [f"top-1 agrees in {share:.2%} of {rows} rows, {tolerance.top1:.0%} wanted"]
    return []


def faintest(differences: Sequence[Difference]) -> float:
    """Return the least rms that a sample of an output counts as."""
    return _FAINT * max((each.rms for each in differences), default=0.0)


def largest_share(differences: Sequence[Difference], tolerance: Tolerance) -> float:
    """Return the largest share of the bound that any element uses; passes up to 1."""
    least_rms = faintest(differences)
    return max(
        (
            math.inf if each.problem else each.worst(tolerance, least_rms=least_rms)[0]
            for each in differences
        ),
        default=0.0,
    )
