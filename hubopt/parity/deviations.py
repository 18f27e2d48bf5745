"""How far the layer's answers deviate when another variant computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hubopt.exporter import ToleranceClass

FLOAT64 = "float64"
REPEATED = "repeated"
XLA = "xla"
VARIANTS: Mapping[str, str] = {
    REPEATED: "called a second time",
    "onednn": "with oneDNN switched",
    XLA: "compiled by XLA",
    FLOAT64: "computed in float64",
    "rounded1": "with weights perturbed, draw 1",
    "rounded2": "with weights perturbed, draw 2",
    "rounded3": "with weights perturbed, draw 3",
}
"""The other ways of computing the layer's function, by variant, as reports describe them."""

_COMPUTED_BY: Mapping[str, ToleranceClass] = {XLA: "xla"}
"""The variants that have an implementation of their own of TensorFlow's operations, with the
tolerance class of the artifacts that use it. Such a variant can be wrong where the layer is not.
All other variants round the same operations otherwise."""
_XLA_FACTOR = 40.0
"""How many times as far as every other variant XLA may deviate and still show the layer's noise.
Its elementary functions round ten times as coarsely (see `TABLE`), and one draw of the noise may
be four times another (see `NOISE_FACTOR`)."""

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
    """Return the largest deviation on one sample that counts as noise.

    The last known deviation of a variant applies to every later sample, too. XLA's counts only
    where the other variants deviate as well.

    Args:
        moves: The deviations of one output, by variant.
        sample: The number of the sample.
    """
    others = _largest_of(_known(moves, sample, of_xla=False))
    compiled = _known(moves, sample, of_xla=True)
    if not all(_is_near(one, others) for one in compiled):
        return others
    return _largest_of([others, *compiled])


def xla_errors(moves: Mapping[str, Sequence[Deviation]]) -> dict[int, Deviation]:
    """Return the deviations of XLA that are errors, by sample.

    They are errors where the other variants agree with the layer far better.

    Args:
        moves: The deviations of one output, by variant.
    """
    return {
        sample: deviation
        for sample, deviation in enumerate(moves.get(XLA, ()))
        if not _is_near(deviation, _largest_of(_known(moves, sample, of_xla=False)))
    }


def noise_for(
    deviations: Mapping[str, Mapping[str, tuple[Deviation, ...]]], artifact_class: ToleranceClass
) -> dict[str, Mapping[str, tuple[Deviation, ...]]]:
    """Return the deviations that can excuse an artifact of this tolerance class.

    Args:
        deviations: By variant and output.
        artifact_class: The artifact's own tolerance class.
    """
    return {
        variant: found
        for variant, found in deviations.items()
        if _COMPUTED_BY.get(variant, artifact_class) == artifact_class
    }


def _known(moves: Mapping[str, Sequence[Deviation]], sample: int, of_xla: bool) -> list[Deviation]:
    return [
        found[min(sample, len(found) - 1)]
        for variant, found in moves.items()
        if found and (variant == XLA) == of_xla
    ]


def _largest_of(deviations: Sequence[Deviation]) -> Deviation:
    return Deviation(
        max((deviation.largest for deviation in deviations), default=0.0),
        max((deviation.rms for deviation in deviations), default=0.0),
    )


def _is_near(xla: Deviation, others: Deviation) -> bool:
    factor = _XLA_FACTOR
    return xla.largest <= factor * others.largest and xla.rms <= factor * others.rms


def largest_deviation(deviations: Mapping[str, Sequence[Deviation]]) -> str:
    """Say how far the layer deviates at most, and for which variant.

    A deviation of a second call takes precedence over every other one. XLA's errors do not count.
    """
    errors = xla_errors(deviations)
    largest = {
        variant: max(
            0.0 if variant == XLA and sample in errors else deviation.largest
            for sample, deviation in enumerate(found)
        )
        for variant, found in deviations.items()
        if found
    }
    variant = REPEATED if largest.get(REPEATED) else max(largest, key=lambda name: largest[name])
    return f"by {largest[variant]:.1e} {VARIANTS.get(variant, variant)}"
