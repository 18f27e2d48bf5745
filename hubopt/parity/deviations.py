"""How far the layer's answers deviate when it is computed in another way."""

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
"""The other ways in which the layer's function is computed, and how to say that."""

MOST_NOISE = 1e-2
"""Of an output's rms: what the layer itself may move and still be a reference."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one output moves on one sample.

    Attributes:
        largest: The largest absolute difference; for integers, booleans and strings the number
            of elements that change. Infinite for another shape, NaN or infinity.
        rms: The root mean square of the differences.
    """

    largest: float
    rms: float


STILL = Deviation(0.0, 0.0)


def deviation_at(moves: Mapping[str, Sequence[Deviation]], sample: int) -> Deviation:
    """Return the largest move on one sample; a way that was taken once tells of every sample."""
    there = [found[min(sample, len(found) - 1)] for found in moves.values() if found]
    return Deviation(
        max((each.largest for each in there), default=0.0),
        max((each.rms for each in there), default=0.0),
    )


def largest_deviation(deviations: Mapping[str, Sequence[Deviation]]) -> str:
    """Say how far the layer deviates at most, and how it was computed then.

    That it does not repeat itself goes before everything else.
    """
    largest = {
        variant: max(deviation.largest for deviation in found)
        for variant, found in deviations.items()
        if found
    }
    variant = REPEATED if largest.get(REPEATED) else max(largest, key=lambda name: largest[name])
    return f"by {largest[variant]:.1e} {VARIANTS.get(variant, variant)}"
