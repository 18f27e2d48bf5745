"""The quality of the reference: how steady it is, and how much agreement with it proves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hubopt._util.short_repr import short_repr
from hubopt.exporter import Tensors, ToleranceClass
from hubopt.parity.deviations import Deviation, noise_for
from hubopt.parity.metrics import Difference, compare_any, distance
from hubopt.parity.tolerance import TOLERANCES
from hubopt.spec import ModelSpec

REDRAWN, PERMUTED, WEIGHTS = "redrawn", "permuted", "weights"

NoiseLevel = Literal["off", "light", "float64", "rounded", "full"]
"""How much of the layer's own noise is known. ``off``: nothing; ``light``: some of it, on the
first samples; ``float64``: the layer's answers in float64 on all samples; ``rounded``: how far its
answers deviate on all samples if its weights are perturbed by a rounding; ``full``: everything,
and edge cases on which the layer is unsteady have been left out."""


@dataclass(frozen=True, slots=True)
class ReferenceQuality:
    """Measurements of the reference that a verdict takes into account; empty if none were made.

    Attributes:
        deviations: How far the eager layer's answers are from a variant's, by variant (see
            `hubopt.parity.deviations`), output and sample. A variant may have been computed for
            the first samples only, and a second call for the first sample only.
        level: How much of the noise is known.
        skipped: Why a variant could not be computed, or another measurement not be made.
        probes: How far the answer to another input, or of another model, is from the reference,
            by probe and output, on the sample with the largest difference. ``redrawn``: another
            sample's answer; ``permuted``: the answer to the input with its elements shuffled;
            ``weights``: the answer of a model with other weights.
        constant: Outputs that depend on no input, and so are constant in a correct artifact, too.
        weightless: Outputs that depend on no weights.
        units: How many rectified units the graph has, see `hubopt.reference.units`.
        inactive: How many units no sample activates: a comparison cannot see the weights behind
            them.
        weights: How many weights were examined, see `hubopt.reference.sensitivity`.
        undetected: How many weights could change sign without exceeding the tolerance on any
            sample.
        culprits: The operation in which a variant goes wrong, by variant, if it was found.
        ties: The samples on which the layer's own order is a tie, by output that it moves; counted
            from 0 among the kept ones.
        alternatives: How many other answers of the layer there are to each sample, if its order
            is a tie on any.
    """

    deviations: Mapping[str, Mapping[str, tuple[Deviation, ...]]] = field(default_factory=dict)
    level: NoiseLevel = "off"
    skipped: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)
    constant: tuple[str, ...] = ()
    weightless: tuple[str, ...] = ()
    units: int = 0
    inactive: int = 0
    weights: int = 0
    undetected: int = 0
    culprits: Mapping[str, str] = field(default_factory=dict)
    ties: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    alternatives: tuple[int, ...] = ()

    def seen_by(self, artifact_class: ToleranceClass) -> ReferenceQuality:
        """Return this quality with only the noise that can excuse an artifact of this class."""
        return replace(self, deviations=noise_for(self.deviations, artifact_class))

    __repr__ = short_repr


def measure_deviations(
    spec: ModelSpec, answers: Sequence[Tensors], reference: Sequence[Tensors]
) -> dict[str, tuple[Deviation, ...]]:
    """Return how far each output of ``answers`` is from the reference, sample by sample."""
    return {
        name: tuple(
            _deviation(np.asarray(new[name]), np.asarray(old[name]))
            for new, old in zip(answers, reference, strict=True)
        )
        for name in spec.output_names
    }


def _deviation(answer: NDArray[Any], reference: NDArray[Any]) -> Deviation:
    if answer.shape != reference.shape:
        return Deviation(math.inf, math.inf)
    if reference.dtype.kind not in "fcV":
        return Deviation(float((answer != reference).sum()), 0.0)
    return Deviation(*(distance(answer, reference) or (math.inf, math.inf)))


def farthest(
    spec: ModelSpec, answers: Sequence[Tensors], reference: Sequence[Tensors]
) -> dict[str, Difference]:
    """Return, by output, the largest difference of ``answers`` from the reference.

    Nothing is farther than an answer of another shape.
    """
    largest = {}
    for output in spec.outputs:
        differences = [
            compare_any(np.asarray(a[output.name]), np.asarray(r[output.name]))
            for a, r in zip(answers, reference, strict=True)
        ]
        if differences:
            largest[output.name] = max(differences, key=_distance)
    return largest


def redrawn(
    spec: ModelSpec, inputs: Sequence[Tensors], reference: Sequence[Tensors]
) -> dict[str, Difference]:
    """Return how far each sample's answer is from the answer to another sample.

    Samples with equal inputs are not compared.
    """
    pairs = [
        (reference[(at + 1) % len(reference)], answer)
        for at, answer in enumerate(reference)
        if not same_tensors(inputs[at], inputs[(at + 1) % len(inputs)])
    ]
    return farthest(spec, [new for new, _ in pairs], [old for _, old in pairs])


def same_tensors(one: Tensors, other: Tensors) -> bool:
    """Whether two samples are equal in every tensor of the first."""
    return all(np.array_equal(one[name], other[name]) for name in one)


def _distance(difference: Difference) -> float:
    if difference.problem:
        return math.inf
    return difference.worst(TOLERANCES["fp32"])[0]
