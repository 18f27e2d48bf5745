"""Judges mutants as hubopt judges artifacts, and explains why a mutant survived."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.mutations.activations import read_onnx, read_tflite
from benchmarks.mutations.mutant import Mutant, Samples
from benchmarks.mutations.onnx_mutants import onnx_mutants
from benchmarks.mutations.tflite_mutants import tflite_mutants
from benchmarks.mutations.write import write
from hubopt import registry
from hubopt.bundles.bundle import Bundle
from hubopt.exporter import Artifact
from hubopt.parity import Parity, ReferenceQuality, Tolerance, judge
from hubopt.reference.bundled import bundled_reference
from hubopt.sampling.samples import draw
from hubopt.spec import ModelSpec, ValueRange

FURTHER, FURTHER_SEED = 32, 1_000_000
"""The number of further samples on which a survivor must agree with the clean artifact, and their
seed, which no reference set uses."""
_LOOKED_INSIDE = 4
"""On how many of these samples the change at a survivor's own layer is measured."""

Outcome = Literal["caught", "equivalent", "missed", "refused"]


@dataclass(frozen=True, slots=True)
class Case:
    """One clean artifact and the data for judging it.

    Attributes:
        artifact: The clean artifact.
        inputs: The samples of the reference set.
        reference: The eager layer's outputs for these samples.
        float64: The outputs of the layer in float64; None if they are missing.
        quality: The quality of the reference.
        tolerances: The tolerances by output.
        further: Samples that are not in the reference set.
        clean: The clean artifact's outputs for the further samples.
    """

    artifact: Artifact
    inputs: Samples
    reference: Samples
    float64: Samples | None
    quality: ReferenceQuality
    tolerances: Mapping[str, Tolerance]
    further: Samples
    clean: Samples


@dataclass(frozen=True, slots=True)
class Judged:
    """The result for a mutant.

    Attributes:
        target: The target of the artifact.
        kind: The kind of the fault.
        site: A description of its place.
        layer: The first wrong tensor; None if the fault is in no single layer.
        outcome: ``caught``: parity failed. ``equivalent``: parity passed, and the mutant is within
            the tolerance of the clean artifact on further samples too. ``missed``: parity passed,
            but the mutant is not. ``refused``: the runtime does not load or run the mutant, so it
            proves nothing.
        reason: The reason of the verdict, or the measurements.
    """

    target: str
    kind: str
    site: str
    layer: str | None
    outcome: Outcome
    reason: str


def open_case(bundle: Bundle, target: str) -> Case:
    """Read the data for judging a bundle's artifact; run it on the further samples."""
    artifact, known = bundle.artifact(target), bundled_reference(bundle)
    inputs = known.read_inputs()
    further = further_samples(known.spec, inputs)
    return Case(
        artifact,
        inputs,
        known.read_outputs(),
        known.read_outputs(known.float64) if known.float64 else None,
        known.quality,
        bundle.manifest.tolerances.tolerances(known.spec.output_names, artifact.tolerance),
        further,
        answers(artifact, artifact.path, further),
    )


def further_samples(spec: ModelSpec, judged_on: Samples) -> Samples:
    """Draw samples that are not in the reference set, without edge cases.

    Integers have their range in the reference set, which takes their tables into account.
    """
    domains = {
        tensor.name: ValueRange(
            min(float(sample[tensor.name].min()) for sample in judged_on),
            max(float(sample[tensor.name].max()) for sample in judged_on),
            "its range in the reference set",
        )
        for tensor in spec.inputs
        if "int" in tensor.dtype
    }
    drawn = draw(spec.inputs, FURTHER, FURTHER_SEED, spec.bounds, domains)
    return [sample.tensors for sample in drawn if not sample.edge]


def answers(clean: Artifact, path: Path, inputs: Samples) -> Samples:
    """Run the artifact at ``path``, with the interface of ``clean``, in this process."""
    artifact = Artifact(clean.exporter, path, clean.spec, clean.tolerance)
    runner = registry.get(clean.exporter).runner(artifact)
    return [runner.run(sample) for sample in inputs]


def verdict(case: Case, path: Path) -> tuple[bool, str]:
    """Judge the artifact at ``path`` on the reference set as `hubopt verify` does.

    Returns:
        Whether it was caught, and the reason.

    Raises:
        Exception: The runtime does not load or run it; runtimes have no common base class.
    """
    parity = judge(
        case.artifact.spec,
        answers(case.artifact, path, case.inputs),
        case.reference,
        case.tolerances,
        case.quality,
        case.float64,
    )
    return not parity.passed, "; ".join(parity.problems[:1])


def mutants(case: Case, seed: int) -> list[Mutant]:
    """Return the mutants of the case's artifact."""
    make = {"onnx": onnx_mutants, "tflite": tflite_mutants}[case.artifact.exporter]
    return list(make(case.artifact.path, seed, case.inputs))


def judge_mutants(case: Case, chosen: Iterable[Mutant], folder: Path) -> Iterator[Judged]:
    """Write each mutant to ``folder``, judge it and remove it."""
    for mutant in chosen:
        path = folder / f"mutant{case.artifact.path.suffix}"
        write(mutant, path)
        try:
            outcome, reason = _judge(case, mutant, path)
        except Exception as error:  # whatever a runtime raises about a model
            outcome, reason = "refused", f"{type(error).__name__}: {error}"
        finally:
            path.unlink()
        yield Judged(mutant.target, mutant.kind, mutant.site, mutant.layer, outcome, reason)


def _judge(case: Case, mutant: Mutant, path: Path) -> tuple[Outcome, str]:
    caught, reason = verdict(case, path)
    if caught:
        return "caught", reason
    # Compare a survivor with the clean artifact on further samples.
    found = answers(case.artifact, path, case.further)
    parity = judge(case.artifact.spec, found, case.clean, case.tolerances)
    facts = [
        f"on {len(case.further)} further samples it uses {_share(parity):.2g} of the tolerance"
    ]
    if mutant.layer is not None:
        inside = [_layer(case, file, mutant.layer) for file in (case.artifact.path, path)]
        change = _change(*inside)
        facts.append(
            f"at the layer it changes {change:.1e} of the rms"
            if change
            else f"on {len(inside[0])} of them the layer's own result is the same to the last bit"
        )
    facts += [mutant.note] if mutant.note else []
    return "equivalent" if parity.passed else "missed", "; ".join(facts)


def _share(parity: Parity) -> float:
    """Return the largest share of any bound that was used."""
    shares = [0.0]
    for output in parity.outputs:
        shares.append(output.worst)
        if output.tolerance.sqnr_db is not None:
            shares.append(10 ** ((output.tolerance.sqnr_db - output.sqnr_db) / 20))
    return max(shares) if parity.outputs else math.inf


def _layer(case: Case, path: Path, name: str) -> list[NDArray[Any]]:
    read = {"onnx": read_onnx, "tflite": read_tflite}[case.artifact.exporter]
    return [arrays[0] for arrays in read(path, [name], case.further[:_LOOKED_INSIDE])]


def _change(clean: list[NDArray[Any]], mutated: list[NDArray[Any]]) -> float:
    """Return the largest difference of any element as a share of the tensor's rms."""
    return max(
        float(np.max(np.abs(after.astype(np.float64) - before), initial=0.0))
        / (float(np.sqrt(np.mean(np.square(before, dtype=np.float64)))) or 1.0)
        for before, after in zip(clean, mutated, strict=True)
    )
