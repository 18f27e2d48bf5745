"""The reference set: samples, what the eager layer gives for them, and what is known of that.

Every artifact is judged on it, here and on any machine that the bundle is taken to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Tensors
from hubopt.parity.deviations import FLOAT64, MOST_NOISE
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
    """What it takes to verify an artifact.

    Its files are written once. A sample that turns out to be no fair one is no longer named in
    ``kept``; the files keep it under its number.

    Attributes:
        spec: The inputs and outputs.
        inputs: The samples.
        outputs: What the eager layer gave for them.
        kept: The numbers of the samples that artifacts are judged on.
        float64: What the layer computed in float64 gives for these; None if that is not there.
        quality: What is known of the reference, for the samples that are kept.
        kinds: What each kept sample is, such as ``uniform``.
        edges: The numbers of edge cases: they are left out if the layer is unsteady there.
        onednn_on: Whether the layer computed with oneDNN's kernels.
        left_out: Edge cases that were drawn and left out, and why.
        variants: What the layer computed in another way gives for the kept samples, by variant:
            files that an export works with and does not keep.
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
    """Return ``known`` with what the layer gives when it is computed in other ways.

    Once all samples were asked, edge cases on which those ways part are left out: there the layer
    answers with its own rounding, as when silence is divided by its loudness.

    Args:
        known: What is known so far.
        answers: The file of each variant's answers, see `hubopt.reference.noise`: to the first
            kept samples for ``light``, else to all of them.
        skipped: Why a variant could not be computed.
        level: How much is known then.
    """
    spec, numbers = known.spec, known.kept
    asked = numbers if level != "light" else numbers[:LIGHT_SAMPLES]
    reference = known.read_outputs()
    given = {way: read_samples(path, spec.outputs, asked) for way, path in answers.items()}
    ways = {way: found for way, found in given.items() if way != WEIGHTS}
    edges = [at for at, number in enumerate(numbers) if number in known.edges]
    odd = _unsteady(spec, edges if level != "light" else (), ways, reference)
    kept = _without(reference, odd)
    probes = dict(known.quality.probes)
    if odd and (among := redrawn(spec, _without(known.read_inputs(), odd), kept)):
        probes[REDRAWN] = among
    if WEIGHTS in given:
        other = _without(given[WEIGHTS], odd)
        probes[WEIGHTS] = farthest(spec, other, kept[: len(other)])
    moves = {
        way: {name: tuple(_without(found, odd)) for name, found in by_output.items()}
        for way, by_output in known.quality.deviations.items()
    }
    for way, found in ways.items():
        left = _without(found, odd)
        moves[way] = measure_deviations(spec, left, kept[: len(left)])
    quality = replace(
        known.quality,
        deviations=moves,
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
"""On how many samples a first look is taken."""


def leaves_bounds(reference: ReferenceSet) -> bool:
    """Whether the layer moves by more than a float32 artifact may, as far as that was measured.

    By more than is allowed at an element of any size, that is, so that near zero it is certain.
    """
    bound = TOLERANCES["fp32"].atol or 0.0
    outputs = reference.read_outputs()
    return any(
        move.largest > bound * compare(given, given).rms
        for by_output in reference.quality.deviations.values()
        for name, moves in by_output.items()
        for move, answer in zip(moves, outputs, strict=False)
        if (given := np.asarray(answer[name])).size
    )


def _unsteady(
    spec: ModelSpec,
    samples: Collection[int],
    ways: Mapping[str, Sequence[Tensors]],
    reference: Sequence[Tensors],
) -> list[int]:
    """Return those of ``samples`` of which a way moves an output by too much for a reference."""
    if not samples:
        return []
    usual = {
        name: max(compare(np.asarray(each[name]), np.asarray(each[name])).rms for each in reference)
        for name in spec.output_names
    }
    return [
        at
        for at in samples
        if any(
            move.largest > MOST_NOISE * usual[name]
            for found in ways.values()
            for name, (move,) in measure_deviations(spec, [found[at]], [reference[at]]).items()
        )
    ]


def _without(items: Sequence[T], places: Collection[int]) -> list[T]:
    return [item for at, item in enumerate(items) if at not in places]
