"""Outputs on which parity proves nothing, because another model would pass as well.

An untrained classifier gives the same scores for every input. An artifact that ignores its
input, or has other weights, would then be as near to the layer as a correct one. This module
checks whether such an artifact would pass under the same tolerance.

An output that is equal for every input, such as a list of labels or a fixed number of detections,
is constant. Comparing it shows that the artifact has the same constant, and nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hubopt.parity.judging import complaints
from hubopt.parity.metrics import Difference
from hubopt.parity.reference import PERMUTED, REDRAWN, WEIGHTS, ReferenceQuality
from hubopt.parity.tolerance import Tolerance


def vacuous_outputs(
    quality: ReferenceQuality, tolerances: Mapping[str, Tolerance]
) -> dict[str, str]:
    """Return the vacuous outputs, each with the reason why parity on it proves nothing.

    Args:
        quality: The measurements of the reference.
        tolerances: The tolerance of each output.
    """
    reasons = {}
    for name, tolerance in tolerances.items():
        inputs = [
            difference
            for probe in (REDRAWN, PERMUTED)
            if (difference := quality.probes.get(probe, {}).get(name)) is not None
        ]
        weights = quality.probes.get(WEIGHTS, {}).get(name)
        if inputs and name not in quality.constant and all(_pass(d, tolerance) for d in inputs):
            reasons[name] = "the layer gives the same for every input, within the tolerance"
        elif (
            weights is not None
            and name not in quality.weightless
            and _is_unaffected(weights, tolerance)
        ):
            reasons[name] = "the layer gives the same with other weights, within the tolerance"
    return reasons


def unseen_outputs(
    differences: Mapping[str, Sequence[Difference]], quality: ReferenceQuality
) -> dict[str, str]:
    """Return the outputs that no sample gave elements, each with the reason.

    An output that never has elements is compared by its shape, which proves all of it. But a model
    with no other outputs has nothing to prove.

    Args:
        differences: The differences of each output, one for each sample.
        quality: The measurements of the reference.
    """
    empty = [
        name
        for name, found in differences.items()
        if not any(difference.elements for difference in found)
    ]
    return {
        name: "it has no elements on any sample, so only its shape was compared"
        for name in empty
        if name not in quality.constant or len(empty) == len(differences)
    }


def constant_outputs(quality: ReferenceQuality) -> tuple[str, ...]:
    """Return the outputs that are equal, bit by bit, for every input.

    The graph shows it, or all answers of the layer do.
    """
    redrawn, permuted = (quality.probes.get(probe, {}) for probe in (REDRAWN, PERMUTED))
    equal = [
        name
        for name, difference in redrawn.items()
        if _is_equal(difference) and _is_equal(permuted.get(name, difference))
    ]
    return tuple(dict.fromkeys([*quality.constant, *equal]))


def _is_equal(difference: Difference) -> bool:
    return difference.elements > 0 and not difference.unequal and difference.problem is None


def _is_unaffected(weights: Difference, tolerance: Tolerance) -> bool:
    """Whether other weights do not change the output beyond the tolerance.

    Outputs of an exact dtype, such as a best class or a count, seldom depend on small changes of
    the weights and do not count as unaffected.
    """
    return not weights.exact and _pass(weights, tolerance)


def _pass(difference: Difference, tolerance: Tolerance) -> bool:
    return difference.elements > 0 and not complaints((difference,), tolerance)
