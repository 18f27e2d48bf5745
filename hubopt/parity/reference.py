"""What is known of the reference itself: how steady it is, and how much it proves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Tensors
from hubopt.parity.deviations import Deviation
from hubopt.parity.metrics import Difference, compare, distance
from hubopt.parity.tolerance import TOLERANCES
from hubopt.spec import ModelSpec

REDRAWN, PERMUTED, WEIGHTS = "redrawn", "permuted", "weights"

NoiseLevel = Literal["off", "light", "float64", "rounded", "full"]
"""How much of the layer's own noise is known: nothing; something of the first samples; the
layer's answers in float64 to all of them; how far roundings move it on all of them; everything,
and no edge case is left on which the layer is unsteady."""


@dataclass(frozen=True, slots=True)
class ReferenceQuality:
    """What an artifact's verdict has to take into account; nothing, if nothing was measured.

    Attributes:
        deviations: By variant, see `hubopt.parity.deviations`, and output: how far the eager
            layer's answer is from that variant's, for each sample that it was computed for, which
            are the first; a second call is made for the first alone.
        level: How much of that is known.
        skipped: Why a way, or another measurement, could not be taken.
        probes: By probe and output: how far the answer to another question is from the
            reference, for the sample where that is farthest. ``redrawn``: another sample's
            answer; ``permuted``: the answer to the input with its elements shuffled;
            ``weights``: the answer of a model with other weights.
        constant: Outputs that no input reaches: what they are is all they should be.
        weightless: Outputs that no weights reach.
        units: How many rectified units the graph has, see `hubopt.reference.units`.
        inactive: How many of them no sample reaches: no comparison sees what is behind them.
        weights: How many weights were looked at, see `hubopt.reference.sensitivity`.
        undetected: How many of them could change sign without its showing on any sample.
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


def measure_deviations(
    spec: ModelSpec, answers: Sequence[Tensors], reference: Sequence[Tensors]
) -> dict[str, tuple[Deviation, ...]]:
    """Return how far each output of ``answers`` is from the reference, sample by sample."""
    return {
        name: tuple(
            _move(np.asarray(new[name]), np.asarray(old[name]))
            for new, old in zip(answers, reference, strict=True)
        )
        for name in spec.output_names
    }


def _move(answer: NDArray[Any], reference: NDArray[Any]) -> Deviation:
    if answer.shape != reference.shape:
        return Deviation(math.inf, math.inf)
    if reference.dtype.kind not in "fcV":
        return Deviation(float((answer != reference).sum()), 0.0)
    return Deviation(*(distance(answer, reference) or (math.inf, math.inf)))


def farthest(
    spec: ModelSpec, answers: Sequence[Tensors], reference: Sequence[Tensors]
) -> dict[str, Difference]:
    """Return, by output, the largest difference of ``answers`` from the reference.

    Pairs of different shapes are left out, as they cannot be told apart element by element.
    """
    found = {}
    for each in spec.outputs:
        differences = [
            compare(new, old)
            for a, r in zip(answers, reference, strict=True)
            if (new := np.asarray(a[each.name])).shape == (old := np.asarray(r[each.name])).shape
        ]
        if differences:
            found[each.name] = max(differences, key=_distance)
    return found


def redrawn(
    spec: ModelSpec, inputs: Sequence[Tensors], reference: Sequence[Tensors]
) -> dict[str, Difference]:
    """Return how far the answer to another sample is from each sample's own.

    Samples with the same input are no others.
    """
    pairs = [
        (reference[(at + 1) % len(reference)], answer)
        for at, answer in enumerate(reference)
        if not same_tensors(inputs[at], inputs[(at + 1) % len(inputs)])
    ]
    return farthest(spec, [new for new, _ in pairs], [old for _, old in pairs])


def same_tensors(one: Tensors, other: Tensors) -> bool:
    """Whether two samples are equal, tensor by tensor of the first."""
    return all(np.array_equal(one[name], other[name]) for name in one)


def _distance(difference: Difference) -> float:
    return difference.worst(TOLERANCES["fp32"])[0]
