"""How far the layer's answers deviate when another variant computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FLOAT64 = "float64"
REPEATED = "repeated"
VARIANTS: Mapping[str, str] = {
    REPEATED: "called a second time",
    "onednn": "with oneDNN switched",
    "xla": "compiled by XLA",
    FLOAT64: "computed in float64",
    "rounded1": "with weights perturbed, draw 1",
    "rounded2": "with weights perturbed, draw 2",
    "rounded3": "with weights perturbed, draw 3",
}
"""The other ways of computing the layer's function, by variant, as reports describe them."""

MOST_NOISE = 1e-2
"""The largest noise with which the layer can still be a reference, as a share of an output's
rms."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a variant's output deviates on one sample.

    Attributes:
        largest: The largest absolute difference; for integers, booleans and strings the number
            of elements that differ. Infinite for another shape, NaN or infinity.
        rms: The root mean square of the differences.
    """

    largest: float
    rms: float


STILL = Deviation(0.0, 0.0)


def deviation_at(moves: Mapping[str, Sequence[Deviation]], sample: int) -> Deviation:
    """Return the largest deviation on one sample.

    The last known deviation of a variant applies to every later sample, too.

    Args:
        moves: The deviations of one output, by variant.
        sample: The number of the sample.
    """
    known = [found[min(sample, len(found) - 1)] for found in moves.values() if found]
    return Deviation(
        max((deviation.largest for deviation in known), default=0.0),
        max((deviation.rms for deviation in known), default=0.0),
    )


def largest_deviation(deviations: Mapping[str, Sequence[Deviation]]) -> str:
    """Say how far the layer deviates at most, and for which variant.

    A deviation of a second call takes precedence over every other one.
    """
    largest = {
        variant: max(deviation.largest for deviation in found)
        for variant, found in deviations.items()
        if found
    }
    variant = REPEATED if largest.get(REPEATED) else max(largest, key=lambda name: largest[name])
    return f"by {largest[variant]:.1e} {VARIANTS.get(variant, variant)}"
