"""The verification kit: samples, what the eager layer gives for them, and what is known of that.

Every artifact is judged on it, here and on any machine that the bundle is taken to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Program, Tensors
from hubopt.parity.metrics import Difference, compare
from hubopt.parity.moves import FLOAT64, MOST_NOISE, REPEATED
from hubopt.parity.overrides import Overrides
from hubopt.parity.reference import (
    PERMUTED,
    REDRAWN,
    WEIGHTS,
    Depth,
    ReferenceFacts,
    farthest,
    measure_moves,
    redrawn,
)
from hubopt.parity.tolerance import TOLERANCES
from hubopt.reference.layer_session import LayerSession
from hubopt.sampling.arrays import read_samples, write_samples
from hubopt.sampling.samples import Sample, draw
from hubopt.spec import ModelSpec

T = TypeVar("T")
_PROBED = 2
"""How many samples are permuted."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What it takes to verify an artifact.

    Attributes:
        spec: The inputs and outputs.
        inputs: The samples.
        reference: What the eager layer gave for them.
        float64: What the layer computed in float64 gives for them; None if that is not there.
        facts: What is known of the reference.
        overrides: Tolerances that the user set.
        kinds: What each sample is, such as ``uniform``.
        edges: Which of them are edge cases: they are left out if the layer is unsteady there.
        onednn_on: Whether the layer computed with oneDNN's kernels.
        left_out: Edge cases that were drawn and left out, and why.
    """

    spec: ModelSpec
    inputs: Path
    reference: Path
    float64: Path | None = None
    facts: ReferenceFacts = field(default_factory=ReferenceFacts)
    overrides: Overrides = field(default_factory=Overrides)
    kinds: tuple[str, ...] = ()
    edges: frozenset[int] = frozenset()
    onednn_on: bool = True
    left_out: Mapping[str, str] = field(default_factory=dict)


def make_kit(
    layer: LayerSession, program: Program, samples: Sequence[Sample], kit: Kit, work: Path
) -> Kit:
    """Run the layer on ``samples`` and write them and its answers to where ``kit`` says.

    Edge cases that the layer refuses or answers with NaN are left out: they are no part of
    what it is made for. The layer is also asked once more, and about permuted inputs.

    Args:
        layer: The eager layer.
        program: Its trace.
        samples: What to ask it.
        kit: Where to write.
        work: A folder for what is not kept.

    Raises:
        TraceError: The layer refuses a sample that is no edge case.
    """
    spec = kit.spec
    write_samples(kit.inputs, [each.tensors for each in samples])
    edges = [at for at, each in enumerate(samples) if each.edge]
    refused = layer.answer(spec, kit.inputs, kit.reference, edges)
    kept = [each for at, each in enumerate(samples) if at not in refused]
    tensors = [each.tensors for each in kept]
    write_samples(kit.inputs, tensors)
    reference = read_samples(kit.reference, spec.outputs)
    moved = [permuted(each, at) for at, each in enumerate(tensors[:_PROBED])]
    probes = {
        REDRAWN: redrawn(spec, tensors, reference),
        PERMUTED: _probe(layer, spec, moved, tensors, reference, work / "permuted"),
    }
    if not probes[REDRAWN]:  # one sample alone: a sum, for one, is the same for it permuted
        drawn = draw(spec.inputs, bounds=spec.bounds, domains=program.domains)
        others = [each.tensors for each in drawn if not each.edge]
        beside, answers = tensors[:1] * len(others), reference[:1] * len(others)
        probes[REDRAWN] = _probe(layer, spec, others, beside, answers, work / "redrawn")
    again = _ask(layer, spec, tensors[:1], work / "again")
    facts = ReferenceFacts(
        moves={REPEATED: measure_moves(spec, again, reference[:1])} if all(again) else {},
        probes={probe: found for probe, found in probes.items() if found},
        constant=program.constant,
        weightless=program.weightless,
    )
    return replace(
        kit,
        facts=facts,
        kinds=tuple(each.kind for each in kept),
        edges=frozenset(at for at, each in enumerate(kept) if each.edge),
        onednn_on=layer.onednn_is_on(),
        left_out={f"{samples[at].kind} ({at})": why for at, why in refused.items()},
    )


def add_noise(
    kit: Kit, answers: Mapping[str, Path], untaken: Mapping[str, str], depth: Depth = "full"
) -> Kit:
    """Return ``kit`` with what the layer gives when it is computed in other ways.

    Once all samples were asked, edge cases on which those ways part are left out: there the layer
    answers with its own rounding, as when silence is divided by its loudness.

    Args:
        kit: Made by `make_kit`.
        answers: What each way gave for the first samples, see `hubopt.reference.noise`; but for
            ``light`` for all of them. Sample by sample, what is left out of the kit is left out of
            these files. Float64's becomes the kit's, if it has all.
        untaken: Why a way could not be taken.
        depth: How much is known then.
    """
    spec = kit.spec
    reference = read_samples(kit.reference, spec.outputs)
    given = {way: read_samples(path, spec.outputs) for way, path in answers.items()}
    ways = {way: found for way, found in given.items() if way != WEIGHTS}
    edges = sorted(kit.edges) if depth != "light" else ()
    odd = _unsteady(spec, edges, ways, reference)
    if odd:
        inputs = read_samples(kit.inputs, spec.inputs)
        write_samples(kit.inputs, _without(inputs, odd))
        write_samples(kit.reference, _without(reference, odd))
        for way, path in answers.items():
            write_samples(path, _without(given[way], odd))
    kept = _without(reference, odd)
    probes = dict(kit.facts.probes)
    if odd and (among := redrawn(spec, read_samples(kit.inputs, spec.inputs), kept)):
        probes[REDRAWN] = among
    if WEIGHTS in given:
        other = _without(given[WEIGHTS], odd)
        probes[WEIGHTS] = farthest(spec, other, kept[: len(other)])
    moves = {
        way: {name: tuple(_without(each, odd)) for name, each in by_output.items()}
        for way, by_output in kit.facts.moves.items()
    }
    for way, found in ways.items():
        left = _without(found, odd)
        moves[way] = measure_moves(spec, left, kept[: len(left)])
    facts = replace(
        kit.facts,
        moves=moves,
        untaken={**kit.facts.untaken, **untaken},
        probes=probes,
        depth=depth,
    )
    staying = [at for at in range(len(reference)) if at not in odd]
    left_out = {f"{kit.kinds[at]} ({at})": "the layer itself is unsteady there" for at in odd}
    return replace(
        kit,
        facts=facts,
        float64=answers.get(FLOAT64) if depth != "light" else None,
        kinds=tuple(_without(kit.kinds, odd)),
        edges=frozenset(at for at, old in enumerate(staying) if old in kit.edges),
        left_out={**kit.left_out, **left_out},
    )


def leaves_bounds(kit: Kit) -> bool:
    """Whether the layer moves by more than a float32 artifact may, as far as that was measured.

    By more than is allowed at an element of any size, that is, so that near zero it is certain.
    """
    bound = TOLERANCES["fp32"].atol or 0.0
    outputs = read_samples(kit.reference, kit.spec.outputs)
    return any(
        move.largest > bound * compare(given, given).rms
        for by_output in kit.facts.moves.values()
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
            for name, (move,) in measure_moves(spec, [found[at]], [reference[at]]).items()
        )
    ]


def _without(items: Sequence[T], places: Collection[int]) -> list[T]:
    return [each for at, each in enumerate(items) if at not in places]


def permuted(sample: Tensors, seed: int) -> dict[str, NDArray[Any]]:
    """Return ``sample`` with the elements of each array, and the words of each text, shuffled."""
    generator = np.random.default_rng(seed)
    return {name: _shuffled(np.asarray(array), generator) for name, array in sample.items()}


def _shuffled(array: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    flat = generator.permutation(array.ravel())
    if array.dtype == object:
        for at, text in enumerate(flat):
            words = bytes(text).split(b" ")
            flat[at] = b" ".join(words[place] for place in generator.permutation(len(words)))
    return flat.reshape(array.shape)


def _probe(
    layer: LayerSession,
    spec: ModelSpec,
    others: Sequence[Tensors],
    samples: Sequence[Tensors],
    reference: Sequence[Tensors],
    work: Path,
) -> dict[str, Difference]:
    """Return how far the answers to ``others`` are from the reference of the sample beside each.

    What the layer refuses, and what is equal to its sample, tells nothing.
    """
    answers = _ask(layer, spec, others, work)
    pairs = [
        (new, old)
        for other, sample, new, old in zip(others, samples, answers, reference, strict=False)
        if new and not all(np.array_equal(other[name], sample[name]) for name in sample)
    ]
    return farthest(spec, [new for new, _ in pairs], [old for _, old in pairs])


def _ask(
    layer: LayerSession, spec: ModelSpec, samples: Sequence[Tensors], work: Path
) -> list[dict[str, Any]]:
    """Return the layer's answers; an empty one for a sample that it refuses."""
    inputs, outputs = work.with_suffix(".in.npz"), work.with_suffix(".out.npz")
    write_samples(inputs, samples)
    refused = layer.answer(spec, inputs, outputs, range(len(samples)))
    answers = iter(read_samples(outputs, spec.outputs))
    return [{} if at in refused else next(answers) for at in range(len(samples))]
