"""`diagnose`: find where a bundle's artifact diverges from the layer, and reproduce it alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hubopt import registry
from hubopt._util.escaping import printable
from hubopt._util.short_repr import short_repr
from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.diagnosis.evaluate import Evaluator, Sides, worst_output
from hubopt.diagnosis.locate import Fault, Operation, Step, locate_fault
from hubopt.diagnosis.measure import Measure, measure
from hubopt.diagnosis.names import Tensor, given_tensors, match
from hubopt.diagnosis.probing import Probed
from hubopt.diagnosis.reference import ENVIRONMENT, Reference
from hubopt.diagnosis.reproduction import Part, layout, write_reproduction
from hubopt.errors import UsageError, WorkerCrashError
from hubopt.exporter import Artifact, Program
from hubopt.models.handles import is_python
from hubopt.parity import TOLERANCES
from hubopt.progress import Progress, quiet
from hubopt.reference.layer_session import LayerSession
from hubopt.runs.artifact_session import ArtifactSession
from hubopt.runs.trust import NO_TRUST, Trust, open_bundled_layer
from hubopt.sampling.arrays import read_samples, sample_numbers
from hubopt.workers.worker import Worker, temporary_log


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Where an artifact diverges from the layer.

    Attributes:
        target: The artifact's target.
        output: The layer's output from which the search started. None if no output diverges;
            then the fields up to ``operations`` are unset too.
        tensor: The artifact's first tensor that diverges.
        tf_tensor: The TensorFlow tensor that it should equal.
        tf_op: The type of the operation that computes ``tf_tensor``.
        tf_node: The node of that operation.
        layer: The Keras layer whose name scope contains the node.
        before: The artifact's last tensors that do not diverge.
        segment: The artifact's operations after ``before`` up to ``tensor``, each with the tensor
            that it computes. The fault is in this segment.
        operations: TensorFlow's operations of the same segment, the last one first.
        growth: The error along the graph, for the tensors that were measured.
        matched: How many tensors of the artifact have a matching TensorFlow tensor.
        total: How many tensors the artifact has.
        runs: How many runs the search took.
        reproduction: The folder with the segment alone; None if it was not requested or not
            written.
        notes: The limits of the diagnosis.
    """

    target: str
    output: str | None = None
    tensor: str | None = None
    tf_tensor: str | None = None
    tf_op: str | None = None
    tf_node: str | None = None
    layer: str | None = None
    before: tuple[str, ...] = ()
    segment: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = ()
    growth: tuple[Step, ...] = ()
    matched: int = 0
    total: int = 0
    runs: int = 0
    reproduction: Path | None = None
    notes: tuple[str, ...] = ()

    __repr__ = short_repr

    @property
    def layers(self) -> tuple[str, ...]:
        """The Keras layers of ``operations``, the last one first."""
        return tuple(
            dict.fromkeys(operation.layer for operation in self.operations if operation.layer)
        )

    def __str__(self) -> str:
        if self.tensor is None:
            return f"{self.target}: nothing leaves the reference"
        place = f"layer {self.layer}" if self.layer else "no layer's scope"
        return printable(
            f"{self.target}: output {self.output} leaves the reference at {self.tf_op} "
            f"({place}): {self.tensor}"
        )


def diagnose(
    bundle: Bundle | str | os.PathLike[str],
    target: str,
    *,
    model: Callable[..., Any] | None = None,
    output: str | os.PathLike[str] | None = None,
    trust: Trust = NO_TRUST,
    progress: Progress = quiet,
) -> Diagnosis:
    """Find the first tensor at which an artifact diverges from the layer.

    Args:
        bundle: A bundle or its folder.
        target: The artifact's target.
        model: The layer or callable that the bundle was made from, if it was not a handle.
        output: The folder for the reproduction, which must not exist yet; None for none.
        trust: The user's permissions for what the bundle's manifest names.
        progress: Called with a label when a step begins.

    Returns:
        The diagnosis. An artifact that agrees with the layer is not an error.

    Raises:
        HuboptError: The bundle, its model or its artifact cannot be opened, or the artifact's
            exporter does not read intermediate tensors.
    """
    bundle = bundle if isinstance(bundle, Bundle) else read_bundle(Path(bundle))
    bundle.check_samples()
    place = None if output is None else Path(output)
    if place is not None and (place.exists() or place.is_symlink()):
        raise UsageError(
            f"output {place}",
            "it exists already",
            "a path that does not exist yet",
            "choose another --output, or remove it first",
        )
    artifact = bundle.artifact(target, failed=True)
    registry.require_layer()
    with ExitStack() as stack:
        log = stack.enter_context(temporary_log())
        with progress("trace the layer"):
            program, reference = open_reference(bundle, model, log, stack, trust)
        with progress(f"{target}: load"):
            worker = stack.enter_context(Worker(log.with_name("artifact.log")))
            probed = worker.create(Probed, artifact, trust.allow_ops)
        case = _Case(bundle, target, artifact, program, reference, probed, log.parent, trust)
        return case.diagnose(place, progress)


def open_reference(
    bundle: Bundle,
    model: Callable[..., Any] | None,
    log: Path,
    stack: ExitStack,
    trust: Trust = NO_TRUST,
) -> tuple[Program, Reference]:
    """Load and trace the bundle's layer in a child process.

    Args:
        bundle: The bundle.
        model: The layer or callable that the bundle was made from, if it was not a handle.
        log: The file for the child's output; the program's files are written next to it.
        stack: Ends the child when it is closed.
        trust: The user's permissions for what the bundle's manifest names.

    Returns:
        The program, and the reference in the child, which evaluates its tensors.

    Raises:
        HuboptError: The layer cannot be loaded, or it has no frozen graph.
    """
    manifest = bundle.manifest
    made_here = manifest.digest is None and not is_python(manifest.handle)
    if made_here and model is None:
        raise UsageError(
            f"bundle {bundle.path}",
            f"it was made from a callable, {manifest.handle}",
            "a model that can be loaded again",
            "call hubopt.diagnose(bundle, target, model=...) from Python",
        )
    worker = stack.enter_context(Worker(log, ENVIRONMENT))
    folder = log.parent / "program"
    if model is not None:
        from hubopt.layers.layer import as_layer

        program = LayerSession(as_layer(model)).trace(manifest.spec, folder, "off", False)
    else:
        layer = open_bundled_layer(bundle.path, manifest, trust, worker)
        program = layer.trace(manifest.spec, folder, "off", False)
    return program, worker.create(Reference, program)


@dataclass(frozen=True, slots=True)
class _Case:
    """The data and child processes of one diagnosis."""

    bundle: Bundle
    target: str
    artifact: Artifact
    program: Program
    reference: Reference
    probed: Probed
    folder: Path
    trust: Trust

    def diagnose(self, place: Path | None, progress: Progress) -> Diagnosis:
        target, spec = self.target, self.program.spec
        tensors, originals = self.probed.tensors(), self.reference.tensors()
        inputs, outputs = self.probed.interface()
        ends = {tensor.name: outputs[tensor.name] for tensor in spec.outputs}
        matched = match(tensors, originals, given_tensors(self.program, inputs, outputs))
        notes = [f"run by {self.probed.how()}"]
        problem = self.reference.problem()
        if problem:
            notes.append(f"the reference is float32, not float64: {problem}")
        diagnosis = Diagnosis(target, matched=len(matched), total=len(tensors))

        sides = Sides(self.reference, self.probed, matched, self.bundle.inputs, self.folder)
        with progress("find the outputs that leave the reference"):
            count = len(read_samples(self.bundle.inputs, spec.inputs))
            names = list(dict.fromkeys(ends.values()))
            worst = worst_output(sides, names, count, self._leaves)
        if worst is None:
            notes += self._check_default_run(matched, ends)
            return replace(diagnosis, notes=tuple(notes))
        start, samples = worst
        with progress("follow the error back"):
            search = Evaluator(sides, samples)
            fault = locate_fault(tensors, originals, matched, start, search)
        diagnosis = _with_fault(
            diagnosis, fault, matched, next(name for name, end in ends.items() if end == start)
        )
        if fault.dropped:
            notes.append(f"ignored, matched by a misleading name: {', '.join(fault.dropped)}")
        if place is not None and self.probed.script():
            try:
                with progress("write the reproduction"):
                    part = self._part(diagnosis, fault, sides, search, samples[0])
                    note = write_reproduction(part, self.probed, self.artifact.path.suffix, place)
                diagnosis = replace(diagnosis, reproduction=place)
                notes += [note] if note else []
            except WorkerCrashError as error:
                notes.append(f"no reproduction: {error.found}")
        elif place is not None:
            notes.append(f"no reproduction: a part of a {target} artifact does not run alone")
        return replace(diagnosis, notes=tuple(notes))

    def _leaves(self, error: Measure) -> bool:
        """Whether the error of an output exceeds both rounding and its tolerance.

        The tolerance does not matter if the bundle records a failure, because a tolerance has
        more criteria than the one checked here.
        """
        failed = self.bundle.manifest.targets[self.target].status == "failed"
        atol = TOLERANCES[self.artifact.tolerance].atol or 0.0
        return error.diverges and (failed or error.share > atol)

    def _part(
        self, found: Diagnosis, fault: Fault, sides: Sides, search: Evaluator, sample: int
    ) -> Part:
        names = [*fault.before, fault.tensor]
        arrays, wide, narrow = sides(names, [sample])
        laid = {
            name: layout(
                arrays[name][0], wide[name][0], narrow[name][0], search.measures[name].alignment
            )
            for name in names
        }
        noise = np.abs(narrow[fault.tensor][0] - wide[fault.tensor][0].astype(np.float64))
        expected = laid[fault.tensor].astype(np.float64)
        scale = float(np.sqrt(np.mean(np.square(expected[np.isfinite(expected)]))))
        return Part(
            self.target,
            str(found),
            {name: laid[name].astype(arrays[name][0].dtype) for name in fault.before},
            fault.tensor,
            expected,
            max(float(noise[np.isfinite(noise)].max(initial=0.0)), 3e-6 * scale),
        )

    def _check_default_run(self, matched: Mapping[str, str], ends: Mapping[str, str]) -> list[str]:
        """Check whether the artifact diverges only with its runtime's default settings."""
        answers = self.folder / "answers.npz"
        numbers = sample_numbers(self.bundle.inputs)
        try:
            with Worker(self.folder / "default.log") as worker:
                session = worker.create(ArtifactSession, self.artifact, None, self.trust.allow_ops)
                session.answer(self.program.spec, self.bundle.inputs, answers, numbers)
        except WorkerCrashError as error:
            return [f"the runtime's default settings were not measured: {error.found}"]
        found = read_samples(answers, self.program.spec.outputs)
        fetches = [matched[name] for name in ends.values()]
        samples = list(range(len(found)))
        self.reference.answer(self.bundle.inputs, samples, fetches, self.folder)
        wide = read_samples(self.folder / "wide.npz", ())
        narrow = read_samples(self.folder / "narrow.npz", ())
        return [
            f"output {name} leaves the reference only with the runtime's default settings: the "
            "fault is in the runtime's optimizations or its delegate, not in the artifact"
            for name, tensor in ends.items()
            if measure(
                [np.asarray(sample[name]) for sample in found],
                [sample[matched[tensor]] for sample in wide],
                [sample[matched[tensor]] for sample in narrow],
            ).diverges
        ]


def _with_fault(
    found: Diagnosis, fault: Fault, matched: Mapping[str, str], output: str
) -> Diagnosis:
    first = fault.operations[0] if fault.operations else None
    tf_tensor = matched[fault.tensor]
    layers = [operation.layer for operation in fault.operations if operation.layer]
    return replace(
        found,
        output=output,
        tensor=fault.tensor,
        tf_tensor=tf_tensor,
        tf_op=first.op if first else None,
        tf_node=first.node if first else tf_tensor.partition(":")[0],
        layer=layers[0] if layers else None,
        before=fault.before,
        segment=tuple(_line(tensor) for tensor in fault.segment),
        operations=fault.operations,
        growth=fault.growth,
        runs=fault.runs,
    )


def _line(tensor: Tensor) -> str:
    return f"{tensor.op} -> {tensor.name}"
