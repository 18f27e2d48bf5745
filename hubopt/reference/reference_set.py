"""The reference set: samples, the eager layer's answers to them, and the quality of the answers.

Every artifact is judged on it, here and on any machine that the bundle is copied to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Tensors
from hubopt.parity.deviations import FLOAT64, MOST_NOISE, XLA, xla_errors
from hubopt.parity.metrics import compare
from hubopt.parity.reference import (
    REDRAWN,
    WEIGHTS,
    NoiseLevel,
    ReferenceQuality,
    farthest,
    measure_deviations,
    redrawn,
)
from hubopt.parity.tolerance import TOLERANCES
from hubopt.sampling.arrays import read_samples
from hubopt.spec import ModelSpec

T = TypeVar("T")
INPUTS, OUTPUTS = "inputs.npz", "reference.npz"


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """Everything that is needed to verify an artifact.

    Its files are written once. If a sample turns out to be unfair, its number is removed from
    ``kept``; the files still hold it under its number.

    Attributes:
        spec: The inputs and outputs.
        inputs: The file of the samples.
        outputs: The file of the eager layer's outputs for them.
        kept: The numbers of the samples that artifacts are judged on.
        float64: The file of the layer's outputs in float64 for the kept samples; None if there is
            none.
        quality: The measured quality of the reference, for the kept samples.
        kinds: The kind of each kept sample, such as ``uniform``.
        edges: The numbers of edge cases: they are left out if the layer is unsteady there.
        onednn_on: Whether the layer computed with oneDNN's kernels.
        left_out: Edge cases that were drawn and left out, and why.
        ties: The file of the layer's other answers to samples on which its order is a tie, see
            `hubopt.reference.ties`; None if there are none.
        variants: The file of each variant's outputs for the kept samples. These files are
            temporary: an export uses them and does not keep them.
    """

    spec: ModelSpec
    inputs: Path
    outputs: Path
    kept: tuple[int, ...]
    float64: Path | None = None
    quality: ReferenceQuality = field(default_factory=ReferenceQuality)
    kinds: tuple[str, ...] = ()
    edges: frozenset[int] = frozenset()
    onednn_on: bool = True
    left_out: Mapping[str, str] = field(default_factory=dict)
    ties: Path | None = None
    variants: Mapping[str, Path] = field(default_factory=dict)

    def read_inputs(self) -> list[dict[str, NDArray[Any]]]:
        """Return the kept samples."""
        return read_samples(self.inputs, self.spec.inputs, self.kept)

    def read_outputs(self, path: Path | None = None) -> list[dict[str, NDArray[Any]]]:
        """Return the outputs for the kept samples: the eager layer's, or those in ``path``."""
        return read_samples(path or self.outputs, self.spec.outputs, self.kept)


def add_noise(
    known: ReferenceSet,
    answers: Mapping[str, Path],
    skipped: Mapping[str, str],
    level: NoiseLevel = "full",
) -> ReferenceSet:
    """Return ``known`` with the noise that the variants' answers show.

    At every level but ``light``, edge cases on which the variants disagree are left out. On these,
    the layer's answer is its own rounding, as when silence is divided by its loudness. XLA has no
    say in that: it can be wrong where the layer is steady.

    Args:
        known: The reference set so far.
        answers: The file of each variant's answers, see `hubopt.reference.noise`: to the first
            kept samples for ``light``, else to all of them.
        skipped: Why a variant could not be computed.
        level: The level of noise that is known with these answers.
    """
    spec, numbers = known.spec, known.kept
    measured = numbers if level != "light" else numbers[:LIGHT_SAMPLES]
    reference = known.read_outputs()
    given = {name: read_samples(path, spec.outputs, measured) for name, path in answers.items()}
    variants = {variant: found for variant, found in given.items() if variant != WEIGHTS}
    edges = [at for at, number in enumerate(numbers) if number in known.edges]
    rounded = {variant: found for variant, found in variants.items() if variant != XLA}
    odd = _unsteady(spec, edges if level != "light" else (), rounded, reference)
    kept = _without(reference, odd)
    probes = dict(known.quality.probes)
    if odd and (among := redrawn(spec, _without(known.read_inputs(), odd), kept)):
        probes[REDRAWN] = among
    if WEIGHTS in given:
        other = _without(given[WEIGHTS], odd)
        probes[WEIGHTS] = farthest(spec, other, kept[: len(other)])
    deviations = {
        variant: {name: tuple(_without(found, odd)) for name, found in by_output.items()}
        for variant, by_output in known.quality.deviations.items()
    }
    for variant, found in variants.items():
        left = _without(found, odd)
        deviations[variant] = measure_deviations(spec, left, kept[: len(left)])
    quality = replace(
        known.quality,
        deviations=deviations,
        skipped={**known.quality.skipped, **skipped},
        probes=probes,
        level=level,
    )
    why = "the layer itself is unsteady there"
    left_out = {f"{known.kinds[at]} ({numbers[at]})": why for at in odd}
    return replace(
        known,
        kept=tuple(_without(numbers, odd)),
        float64=answers.get(FLOAT64) if level != "light" else None,
        quality=quality,
        kinds=tuple(_without(known.kinds, odd)),
        left_out={**known.left_out, **left_out},
        variants=dict(answers) if level != "light" else {},
    )


LIGHT_SAMPLES = 2
"""The number of samples on which the first step of the noise is measured."""


def leaves_bounds(reference: ReferenceSet) -> bool:
    """Whether the layer's measured noise is more than a float32 artifact may deviate.

    The noise is compared with ``atol`` alone, the bound that applies to an element of any size,
    so that noise above it exceeds the tolerance near zero for certain.
    """
    bound = TOLERANCES["fp32"].atol or 0.0
    outputs = reference.read_outputs()
    return any(
        deviation.largest > bound * compare(given, given).rms
        for by_output in reference.quality.deviations.values()
        for name, deviations in by_output.items()
        for deviation, answer in zip(deviations, outputs, strict=False)
        if (given := np.asarray(answer[name])).size
    )


def xla_error(reference: ReferenceSet) -> tuple[str, int] | None:
    """Return the output and the number of the sample with XLA's largest error; None without one.

    An error is counted from ``atol`` of the class ``xla`` on, as a share of the output's rms.
    """
    bound = TOLERANCES["xla"].atol or 0.0
    outputs = reference.read_outputs()
    found: list[tuple[float, str, int]] = []
    for name in reference.spec.output_names:
        by_variant = reference.quality.deviations.items()
        moves = {variant: by_output[name] for variant, by_output in by_variant if name in by_output}
        for at, deviation in xla_errors(moves).items():
            given = np.asarray(outputs[at][name])
            allowed = bound * compare(given, given).rms
            if deviation.largest > allowed:
                found.append((deviation.largest / (allowed or 1.0), name, at))
    return None if not found else (max(found)[1], reference.kept[max(found)[2]])


def _unsteady(
    spec: ModelSpec,
    samples: Collection[int],
    variants: Mapping[str, Sequence[Tensors]],
    reference: Sequence[Tensors],
) -> list[int]:
    """Return the ``samples`` on which a variant deviates too much for the layer to be a reference.

    Args:
        spec: The inputs and outputs.
        samples: The indices of the samples to check.
        variants: Each variant's answers to all samples.
        reference: The eager layer's answers to all samples.
    """
    if not samples:
        return []
    usual = {
        name: max(compare(np.asarray(out[name]), np.asarray(out[name])).rms for out in reference)
        for name in spec.output_names
    }
    return [
        at
        for at in samples
        if any(
            one.largest > MOST_NOISE * usual[name]
            for found in variants.values()
            for name, (one,) in measure_deviations(spec, [found[at]], [reference[at]]).items()
        )
    ]


def _without(items: Sequence[T], places: Collection[int]) -> list[T]:
    return [item for at, item in enumerate(items) if at not in places]
