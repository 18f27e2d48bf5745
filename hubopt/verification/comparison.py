"""`verify`: any artifact against any layer, without a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from hubopt import registry
from hubopt._util.structure import pack, unpack
from hubopt.errors import ExportError, UsageError
from hubopt.exporter import PROGRAM, Artifact, ToleranceClass
from hubopt.hints import Hints
from hubopt.models.handles import Access, LayerOptions
from hubopt.parity import Overrides, Parity
from hubopt.progress import Progress, quiet
from hubopt.reference.asking import Question, ask
from hubopt.reference.kit import Kit
from hubopt.reference.noise import NoiseMeter
from hubopt.reference.noise_depth import Deepening, Noise
from hubopt.reference.on_demand import Model, open_model
from hubopt.reference.reference import Reference
from hubopt.runs.artifact_session import ArtifactSession
from hubopt.runs.examine import judge_files
from hubopt.sampling.arrays import read_samples, write_samples
from hubopt.sampling.samples import SEED
from hubopt.sampling.user_data import Data
from hubopt.spec import ModelSpec
from hubopt.verification.loaded import LoadedArtifact
from hubopt.workers.worker import Worker, temporary_log

AnyArtifact = Artifact | str | os.PathLike[str] | LoadedArtifact | Callable[..., Any]
"""What an exporter wrote, a file or folder of a target, or what is called as the layer is."""


def verify(
    artifact: AnyArtifact,
    layer: Model,
    *,
    target: str | None = None,
    names: Mapping[str, str] | None = None,
    hints: Hints | None = None,
    layer_options: LayerOptions | None = None,
    access: Access | None = None,
    data: Data | None = None,
    samples: int | None = None,
    seed: int = SEED,
    noise: Noise = "auto",
    tolerance: ToleranceClass | None = None,
    overrides: Overrides | None = None,
    progress: Progress = quiet,
) -> Parity:
    """Run ``artifact`` and ``layer`` on the same samples and judge the one by the other.

    Args:
        artifact: A file or folder, from hubopt or from elsewhere; an `Artifact`; what
            `hubopt.load` returned; or any callable that takes and gives what the layer does.
        layer: A handle, a layer or a callable.
        target: Which runtime a file is for; by default its suffix tells.
        names: The artifact's name for each tensor that the layer names otherwise.
        hints: Shapes and dtypes that the layer leaves open.
        layer_options: Signature, output and tags, for a handle.
        access: How a handle may be reached.
        data: Inputs of your own, see `hubopt.sampling.user_data`; drawn by default.
        samples: How many; by default 8 drawn and the edge cases, or up to 64 of ``data``.
        seed: The seed of those that are drawn.
        noise: How much to measure of how far the layer itself moves: ``auto``, what the verdict
            hangs on; ``full``; ``off``.
        tolerance: The class that the artifact is held to; by default its own, or ``fp32``.
        overrides: Tolerances of single outputs, or other bounds.
        progress: Told what begins.

    Raises:
        HuboptError: The layer or the artifact does not load or does not run. That they
            disagree is no error: look at `Parity.status`.
    """
    overrides = overrides or Overrides()
    if callable(artifact) and (target or names):
        raise UsageError(
            "artifact",
            "target or names given for what is called, not loaded",
            "a file or folder, which has a runtime and names of its own",
            "leave them out, or pass the file",
        )
    question = Question.read(data, samples, seed, noise)
    with temporary_log() as log, ExitStack() as stack:
        options, allowed = layer_options or LayerOptions(), access or Access()
        _, _, opened = open_model(layer, options, allowed, log, stack, progress)
        with progress("resolve shapes"):
            spec = opened.resolve(hints or Hints(), question.first)
        overrides.check(spec.output_names)
        with progress("trace"):
            program = opened.trace(spec, log.with_name("program"), "auto", False)
        inputs, answered = log.with_name("inputs.npz"), log.with_name("reference.npz")
        load = partial(_answer, artifact, target, names or {}, allowed.allow_ops)
        empty = Kit(spec, inputs, answered, overrides=overrides)
        meter = stack.enter_context(NoiseMeter(log))
        work = log.with_name("work")
        deepen = Deepening(noise, program, meter, work, progress)
        kit = ask(question, opened, program, empty, program.folder, progress)
        reference = Reference(lambda: deepen(kit) or kit, deepen)
        answers = log.with_name("answers.npz")

        def run_and_judge(kit: Kit) -> Parity:
            known = load(kit, answers, log, progress)
            return judge_files(kit, answers, tolerance or known)

        return reference.settle(run_and_judge)


def _answer(
    artifact: AnyArtifact,
    target: str | None,
    names: Mapping[str, str],
    allow_ops: tuple[str, ...],
    kit: Kit,
    answers: Path,
    log: Path,
    progress: Progress,
) -> ToleranceClass:
    """Write the artifact's answers to the kit's samples; return its tolerance class."""
    if callable(artifact):
        with progress("run the artifact"):
            _call(artifact, kit, answers)
        return "fp32"
    known = artifact if isinstance(artifact, Artifact) else _find(artifact, target, kit.spec)
    with progress(f"{known.target}: run"), Worker(log) as worker:
        session = worker.create(ArtifactSession, known, dict(names), allow_ops)
        session.answer(kit.spec, kit.inputs, answers)
    return known.tolerance


def _call(artifact: Callable[..., Any], kit: Kit, answers: Path) -> None:
    import numpy as np

    spec = kit.spec
    results = []
    for at, sample in enumerate(read_samples(kit.inputs, spec.inputs)):
        try:
            outputs = unpack(spec.output_structure, artifact(pack(spec.input_structure, sample)))
        except Exception as error:  # whatever the caller's own code raises
            raise ExportError(
                "artifact",
                f"sample {at}: {type(error).__name__}: {error}",
                "what takes the layer's inputs and gives outputs packed as the layer's",
                "wrap it in a function that does",
            ) from error
        results.append({name: np.asarray(tensor) for name, tensor in outputs.items()})
    write_samples(answers, results)


def _find(path: str | os.PathLike[str], target: str | None, spec: ModelSpec) -> Artifact:
    """Return the artifact at ``path``."""
    place = Path(path)
    if not place.exists():
        raise UsageError(
            f"artifact {place}", "no such file or folder", "an artifact", "check the path"
        )
    name = target or _target_of(place)
    registry.get(name)  # an unknown target is told before any work
    return Artifact(name, place, spec)


def _target_of(place: Path) -> str:
    suffix = "" if place.is_dir() else place.suffix
    fitting = [
        each.name
        for each in map(registry.get, registry.names())
        if each.suffix == suffix and each.source == PROGRAM
    ]
    if len(fitting) != 1:
        raise UsageError(
            f"artifact {place}",
            f"its suffix, {suffix or 'none'}, tells no target",
            f"target=, one of: {', '.join(registry.names())}",
            "name the target",
        )
    return fitting[0]
