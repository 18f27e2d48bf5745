"""Outputs on which parity proves nothing, because another model would pass as well.

An untrained classifier gives the same scores for every input. An artifact that ignores its
input, or has other weights, would then be as near to the layer as a faithful one. So the same
tolerance is asked whether such an artifact would pass.
"""

from __future__ import annotations

from collections.abc import Mapping

from hubopt.parity.judging import complaints
from hubopt.parity.metrics import Difference
from hubopt.parity.reference import PERMUTED, REDRAWN, WEIGHTS, ReferenceQuality
from hubopt.parity.tolerance import Tolerance


def vacuous_outputs(
    quality: ReferenceQuality, tolerances: Mapping[str, Tolerance]
) -> dict[str, str]:
    """Return, by output, why parity on it proves nothing.

    Args:
        quality: What was measured of the reference.
        tolerances: What each output is held to.
    """
    found = {}
    for name, tolerance in tolerances.items():
        inputs = [
            difference
            for probe in (REDRAWN, PERMUTED)
            if (difference := quality.probes.get(probe, {}).get(name)) is not None
        ]
        weights = quality.probes.get(WEIGHTS, {}).get(name)
        if inputs and name not in quality.constant and all(_pass(d, tolerance) for d in inputs):
            found[name] = "the layer gives the same for every input, within the tolerance"
        elif (
            weights is not None
            and name not in quality.weightless
            and _is_unaffected(weights, tolerance)
        ):
            found[name] = "the layer gives the same with other weights, within the tolerance"
    return found


def _is_unaffected(weights: Difference, tolerance: Tolerance) -> bool:
    """Whether weights do not show; those of a best class or a count seldom do."""
    return not weights.exact and _pass(weights, tolerance)


def _pass(difference: Difference, tolerance: Tolerance) -> bool:
    return difference.elements > 0 and not complaints((difference,), tolerance)
