"""`verify`: compare any artifact with any layer, without a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubopt._util.escaping import printable
from hubopt._util.structure import pack, unpack
from hubopt.errors import ExportError, UsageError
from hubopt.exporter import Artifact, FileInterface, ToleranceClass
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.parity import Parity, ToleranceOverrides
from hubopt.progress import Background, Progress, done, quiet, report_done
from hubopt.reference import noise as layer_noise
from hubopt.reference.layer_process import LayerProcess, Model
from hubopt.reference.measuring import ask_layer
from hubopt.reference.noise import NoiseMeter
from hubopt.reference.noise_level import Noise, NoiseEscalation
from hubopt.reference.reference_set import ReferenceSet
from hubopt.reference.sample_plan import SamplePlan
from hubopt.runs.run import Run, run
from hubopt.runs.settle import run_parity, settle
from hubopt.sampling.arrays import write_samples
from hubopt.sampling.samples import SEED
from hubopt.sampling.user_data import Data
from hubopt.spec import ModelSpec
from hubopt.verification.by_artifact import artifact_reference, check_only
from hubopt.verification.files import TargetFile, file_interface, find_file
from hubopt.verification.loaded import LoadedArtifact
from hubopt.verification.pairing import pair_names
from hubopt.workers.shared import SharedWorker
from hubopt.workers.worker import temporary_log

AnyArtifact = Artifact | str | os.PathLike[str] | LoadedArtifact | Callable[..., Any]
"""An exporter's artifact, a file or folder of a target, or a callable like the layer."""


def verify(
    artifact: AnyArtifact,
    layer: Model | LoadedArtifact,
    *,
    target: str | None = None,
    names: Mapping[str, str] | None = None,
    hints: Hints | None = None,
    layer_options: LayerOptions | None = None,
    load_policy: LoadPolicy | None = None,
    data: Data | None = None,
    samples: int | None = None,
    seed: int = SEED,
    noise: Noise = "auto",
    tolerance: ToleranceClass | None = None,
    overrides: ToleranceOverrides | None = None,
    progress: Progress = quiet,
) -> Parity:
    """Run ``artifact`` and ``layer`` on the same samples and judge the artifact by the layer.

    Args:
        artifact: A file or folder, from hubopt or from elsewhere; an `Artifact`; the result of
            `hubopt.load`; or any callable that takes the layer's inputs and returns its outputs.
        layer: A handle, a layer or a callable; or the result of `hubopt.load`, whose answers then
            are the reference. Its noise is not measured.
        target: The target whose runtime runs a file; by default the file's suffix decides.
        names: A file's name for a tensor that has another name in the layer. What is not named
            is paired by name, or where only one pairing is possible, see `pair_names`.
        hints: Shapes and dtypes that the layer leaves open.
        layer_options: Signature, output and tags, for a handle.
        load_policy: How a handle may be fetched and loaded.
        data: Inputs of your own, see `hubopt.sampling.user_data`; drawn by default.
        samples: The number of samples; by default 8 drawn ones and the edge cases, or up to 64
            of ``data``.
        seed: The seed of the drawn samples.
        noise: How much of the layer's own noise to measure: ``auto`` for what the verdict depends
            on, ``full``, or ``off``.
        tolerance: The tolerance class of the artifact; by default its own, or ``fp32``.
        overrides: Tolerances of single outputs, or other bounds.
        progress: Called with a label when a step begins.

    Raises:
        HuboptError: The layer or the artifact does not load or does not run. Disagreement
            between them is not an error: see `Parity.status`.
    """
    overrides = overrides or ToleranceOverrides()
    if callable(artifact) and (target or names):
        raise UsageError(
            "artifact",
            "target or names given for a callable, which is not loaded",
            "a file or folder, which has a runtime and names of its own",
            "leave them out, or pass the file",
        )
    plan = SamplePlan.read(data, samples, seed, noise)
    allowed = load_policy or LoadPolicy()
    with temporary_log() as log, ExitStack() as stack:
        file = None
        if isinstance(artifact, str | os.PathLike):
            place = find_file(artifact, target)
            with progress("read the artifact's inputs and outputs"):
                file = place, file_interface(*place, log)
        if isinstance(layer, LoadedArtifact):
            check_only(hints=hints, layer_options=layer_options, noise=noise == "full")
            with progress("ask the layer"):
                reference = artifact_reference(layer, plan, log.with_name("reference"))
            overrides.check(layer.spec.output_names)
            artifact, names = _by_layer(artifact, file, layer.spec, names, progress)
            ran = _run(artifact, names, allowed.allow_ops, reference, log, progress)
            return _parity(reference, ran, tolerance, overrides, None)
        opened = stack.enter_context(
            LayerProcess(layer, layer_options or LayerOptions(), allowed, log, progress)
        )
        with progress("resolve shapes"):
            spec = opened.session.resolve(hints or Hints(), plan.first)
        overrides.check(spec.output_names)
        artifact, names = _by_layer(artifact, file, spec, names, progress)
        with progress("trace"):
            program = opened.session.trace(spec, log.with_name("program"), "auto", False)
        background = stack.enter_context(Background(progress))
        child = stack.enter_context(
            SharedWorker(log, layer_noise.SHARED_ENVIRONMENT, layer_noise.IMPORTS)
        )
        meter = stack.enter_context(NoiseMeter(log, child))
        work = log.with_name("work")
        escalation = NoiseEscalation(noise, program, meter, work / "noise", progress)
        ahead = replace(escalation, progress=background.note)
        with progress("ask the layer"):
            reference, first = ask_layer(
                plan, opened, program, work / "reference", work, ahead, child, background
            )
            reference = ahead.begin(reference, first)
        ran = _run(artifact, names, allowed.allow_ops, reference, log, progress)
        return _parity(reference, ran, tolerance, overrides, escalation)


def _by_layer(
    artifact: AnyArtifact,
    file: tuple[TargetFile, FileInterface | None] | None,
    spec: ModelSpec,
    names: Mapping[str, str] | None,
    progress: Progress,
) -> tuple[AnyArtifact, Mapping[str, str] | None]:
    """Return a file as an artifact with the layer's spec, and its names for the tensors."""
    if file is None:
        return artifact, names
    place, interface = file
    found = Artifact(place.exporter, place.path, spec)
    if interface is None:
        return found, names
    pairs = pair_names(spec, interface, names)
    listing = ", ".join(f"{ours} = {theirs}" for ours, theirs in pairs.items())
    report_done(progress, f"names, layer = file: {printable(listing) or 'the same'}")
    return found, pairs


def _parity(
    reference: ReferenceSet,
    ran: Run,
    tolerance: ToleranceClass | None,
    overrides: ToleranceOverrides,
    escalation: NoiseEscalation | None,
) -> Parity:
    """Judge what ran; without an escalation, on what is known of the layer."""
    if ran.error is not None:
        raise ran.error
    if tolerance is not None:
        ran = replace(ran, artifact=replace(ran.artifact, tolerance=tolerance))
    if escalation is None:
        return run_parity(reference, ran, overrides)
    _, (verdict,) = settle(reference, [ran], overrides, escalation)
    assert verdict.parity is not None
    return verdict.parity


def _run(
    artifact: AnyArtifact,
    names: Mapping[str, str] | None,
    allow_ops: tuple[str, ...],
    reference: ReferenceSet,
    log: Path,
    progress: Progress,
) -> Run:
    """Run the artifact on the samples of the reference set."""
    answers = log.with_name("answers.npz")
    if callable(artifact):
        with progress("run the artifact"):
            _call(artifact, reference, answers)
        return Run(Artifact("callable", answers, reference.spec), answers)
    assert isinstance(artifact, Artifact)
    with progress(f"{artifact.exporter}: run"):
        return run(artifact, done(reference), answers, log, None, names, allow_ops)


def _call(artifact: Callable[..., Any], reference: ReferenceSet, answers: Path) -> None:
    import numpy as np

    spec = reference.spec
    results = {}
    for at, sample in zip(reference.kept, reference.read_inputs(), strict=True):
        try:
            if isinstance(artifact, LoadedArtifact):  # by name, however it packs them
                outputs = artifact.answer(sample)
            else:
                packed = artifact(pack(spec.input_structure, sample))
                outputs = unpack(spec.output_structure, packed)
        except Exception as error:  # whatever the caller's own code raises
            raise ExportError(
                "artifact",
                f"sample {at}: {type(error).__name__}: {error}",
                "a callable that takes the layer's inputs and returns outputs packed like its own",
                "wrap it in a function that does",
            ) from error
        results[at] = {name: np.asarray(tensor) for name, tensor in outputs.items()}
    write_samples(answers, results)
