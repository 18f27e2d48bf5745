"""Running the layer on the samples, and probing how much its answers prove."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hubopt.errors import ResourceError, WorkerCrashError
from hubopt.exporter import Program, Tensors
from hubopt.parity.deviations import REPEATED
from hubopt.parity.metrics import Difference
from hubopt.parity.reference import (
    PERMUTED,
    REDRAWN,
    ReferenceQuality,
    farthest,
    measure_deviations,
    redrawn,
)
from hubopt.reference.layer_process import LayerProcess
from hubopt.reference.reference_set import INPUTS, OUTPUTS, ReferenceSet
from hubopt.sampling.arrays import read_samples, write_samples
from hubopt.sampling.samples import Sample, draw
from hubopt.spec import ModelSpec

R = TypeVar("R")
_PROBED = 2
"""The number of samples that are permuted."""


def answer(
    layer: LayerProcess, program: Program, samples: Sequence[Sample], folder: Path, work: Path
) -> ReferenceSet:
    """Run the layer on ``samples`` and write them and its answers to ``folder``.

    Edge cases that the layer refuses or answers with NaN are left out, because the layer is not
    made for them. The layer is also called a second time, and on permuted inputs. If such a probe
    ends its process, the probe is left out and reported as skipped.

    Args:
        layer: The eager layer.
        program: The traced layer.
        samples: The samples to run.
        folder: The folder that samples and answers are written to.
        work: A folder for temporary files.

    Raises:
        TraceError: The layer refuses a sample that is not an edge case, or answers it with NaN.
    """
    spec = program.spec
    folder.mkdir(parents=True, exist_ok=True)
    inputs, outputs = folder / INPUTS, folder / OUTPUTS
    write_samples(inputs, [sample.tensors for sample in samples])
    edges = frozenset(at for at, sample in enumerate(samples) if sample.edge)
    refused = _answer(layer, spec, inputs, outputs, edges)
    kept = tuple(at for at in range(len(samples)) if at not in refused)
    onednn_on = layer.session.onednn_is_on()
    tensors = [samples[at].tensors for at in kept]
    questions = _Questions(layer, program, work)
    quality = questions.ask_all(tensors, read_samples(outputs, spec.outputs, kept))
    return ReferenceSet(
        spec=spec,
        inputs=inputs,
        outputs=outputs,
        kept=kept,
        quality=replace(quality, constant=program.constant, weightless=program.weightless),
        kinds=tuple(samples[at].kind for at in kept),
        edges=edges & set(kept),
        onednn_on=onednn_on,
        left_out={f"{samples[at].kind} ({at})": why for at, why in refused.items()},
    )


def _answer(
    layer: LayerProcess, spec: ModelSpec, inputs: Path, outputs: Path, edges: Collection[int]
) -> dict[int, str]:
    """Run the layer; if its process dies, load it again and run it once more.

    Its samples were chosen in the same process, by gradients among others, and what damages the
    memory of a process may end it only later.
    """
    try:
        return layer.session.answer(spec, inputs, outputs, edges)
    except WorkerCrashError:
        layer.restart()
        return layer.session.answer(spec, inputs, outputs, edges)


class _Questions:
    """Probes the layer with inputs that no artifact is judged on; skips a probe that crashes."""

    def __init__(self, layer: LayerProcess, program: Program, work: Path) -> None:
        self._layer = layer
        self._program = program
        self._spec = program.spec
        self._work = work
        self._untaken: dict[str, str] = {}

    def ask_all(self, tensors: Sequence[Tensors], reference: Sequence[Tensors]) -> ReferenceQuality:
        """Run all probes and return the quality of the reference."""
        spec = self._spec
        shuffled = [permuted(sample, at) for at, sample in enumerate(tensors[:_PROBED])]
        probes = {
            REDRAWN: redrawn(spec, tensors, reference),
            PERMUTED: self._probe("permuted inputs", shuffled, tensors, reference),
        }
        # There is one sample alone. Permuting it is not enough: it does not change a sum, say.
        if not probes[REDRAWN]:
            domains = self._program.domains
            drawn = draw(spec.inputs, bounds=spec.bounds, domains=domains)
            others = [sample.tensors for sample in drawn if not sample.edge]
            beside, answers = [*tensors[:1]] * len(others), [*reference[:1]] * len(others)
            probes[REDRAWN] = self._probe("other samples", others, beside, answers)
        # This call comes last, so that the layer is timed on the first sample.
        again = self._ask("a second call", tensors[:1])
        answered = bool(again) and all(again)
        return ReferenceQuality(
            deviations={REPEATED: measure_deviations(spec, again, reference[:1])}
            if answered
            else {},
            skipped=self._untaken,
            probes={probe: found for probe, found in probes.items() if found},
        )

    def _probe(
        self,
        what: str,
        others: Sequence[Tensors],
        samples: Sequence[Tensors],
        reference: Sequence[Tensors],
    ) -> dict[str, Difference]:
        """Return how far the answers to ``others`` are from the reference of the paired samples.

        Pairs are left out if the layer refuses the other input, or if it equals the sample.
        """
        answers = self._ask(what, others)
        pairs = [
            (new, old)
            for other, sample, new, old in zip(others, samples, answers, reference, strict=False)
            if new and not all(np.array_equal(other[name], sample[name]) for name in sample)
        ]
        return farthest(self._spec, [new for new, _ in pairs], [old for _, old in pairs])

    def _ask(self, what: str, samples: Sequence[Tensors]) -> list[dict[str, Any]]:
        """Return the layer's answers; after a crash, none.

        The answer to a sample that the layer refuses is empty.
        """
        name = what.replace(" ", "_")
        inputs, outputs = self._work / f"{name}.in.npz", self._work / f"{name}.out.npz"
        self._work.mkdir(parents=True, exist_ok=True)
        write_samples(inputs, samples)
        session = self._layer.session
        try:
            refused = session.answer(self._spec, inputs, outputs, range(len(samples)))
        except (WorkerCrashError, ResourceError) as error:  # also if killed for lack of memory
            self._untaken[what] = error.found
            self._layer.restart()
            return []
        answers = iter(read_samples(outputs, self._spec.outputs))
        return [{} if at in refused else next(answers) for at in range(len(samples))]


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
