"""The layer's answers computed by other variants, to measure the noise of the reference.

The eager layer is a reference with an error of its own. TensorFlow has two sets of kernels on
a CPU, its own and oneDNN's, and picks one by the processor; XLA has a third. The distance between
their answers is the noise of the reference. The same graph in float64 is a better reference.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from hubopt._platform.causes import first_line
from hubopt._util.trimming import trim_heap
from hubopt.errors import HuboptError
from hubopt.exporter import OpUse, Program, Tensors, culprits
from hubopt.parity.reference import same_tensors
from hubopt.programs.graphs.compiled_graph import CompiledGraph
from hubopt.programs.graphs.float64 import widen
from hubopt.programs.graphs.frozen_graph import read_frozen_graph
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.programs.graphs.perturbing import ROUNDING, lift, perturb
from hubopt.programs.serving import SIGNATURE
from hubopt.reference.reference_set import LIGHT_SAMPLES
from hubopt.sampling.arrays import read_samples, sample_numbers, write_samples
from hubopt.workers.shared import SharedWorker
from hubopt.workers.worker import Worker

ROUNDED = ("rounded1", "rounded2", "rounded3")
VARIANTS = ("onednn", "float64", "weights", *ROUNDED, "xla")
"""``onednn``: with oneDNN switched; ``float64``: in float64; ``weights``: with other weights, which
is not noise but shows whether the answers depend on the weights; `ROUNDED`: with weights perturbed
by a rounding, three times, since on an ill-conditioned model one draw of the noise says little
about the next; ``xla``: compiled. XLA is the last, because it can crash the process."""

_SWITCH = "TF_ENABLE_ONEDNN_OPTS"
SHARED_ENVIRONMENT = {} if _SWITCH in os.environ else {_SWITCH: "0"}
"""The environment of a child that measures noise besides other work. On most processors oneDNN is
on by default, so this switches it. If it does not switch it, noise has a child of its own."""
IMPORTS = ("tensorflow", __name__)
"""The modules that the child imports."""
MOST_COPIED_BYTES = 10**9
"""The largest graph that is computed by variants other than ``onednn``: with other weights, which
are held beside the original ones, in float64, or compiled by XLA, which copies some constants."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to the samples, by variant.

    Attributes:
        answers: The file of `hubopt.sampling.arrays` with all outputs, for each of `VARIANTS` that
            was computed. Answers in float64 are stored in float64.
        problems: Why a variant was not computed, by variant.
    """

    answers: Mapping[str, Path]
    problems: Mapping[str, str]


class NoiseMeter:
    """Computes the variants of a program, in a child process with oneDNN switched.

    A variant that fails is reported and does not affect the others. A child that dies is started
    again. Use it as a context manager: leaving it ends the child, unless others use it, too.

    Args:
        log: The file that the child's output is written to.
        shared: A child with `SHARED_ENVIRONMENT` that others use, too. It is used if oneDNN is
            switched there.
    """

    def __init__(self, log: Path, shared: SharedWorker | None = None) -> None:
        self._log = log
        self._shared = shared
        self._own = {on: SharedWorker(log, _switched(on), IMPORTS) for on in (True, False)}
        self._ready: tuple[Worker, VariantRunner] | None = None
        self._measuring = Lock()

    def __enter__(self) -> NoiseMeter:
        return self

    def __exit__(self, *error: object) -> None:
        with ExitStack() as ending:
            for child in self._own.values():
                ending.push(child)

    def measure(
        self,
        program: Program,
        inputs: Path,
        folder: Path,
        onednn_on: bool,
        ways: Sequence[str] = VARIANTS,
        numbers: Sequence[int] | None = None,
    ) -> Answers:
        """Compute the answers to the samples by each of the variants in ``ways``.

        Args:
            program: The traced layer, the same in every call. Without a frozen graph, as with
                lookup tables, only ``onednn`` can be computed.
            inputs: The file of the samples.
            folder: The folder that ``onednn.npz`` and so on are written to.
            onednn_on: Whether the reference is computed with oneDNN's kernels, see
                `hubopt._platform.tf_private.onednn_is_on`.
            ways: A selection of `VARIANTS`.
            numbers: The numbers of the samples; by default all.

        Raises:
            WorkerCrashError: The context was left meanwhile, by another thread.
        """
        folder.mkdir(parents=True, exist_ok=True)
        child = self._child(onednn_on)
        answers: dict[str, Path] = {}
        problems: dict[str, str] = {}
        with self._measuring:
            for variant in ways:
                path = folder / f"{variant}.npz"
                try:
                    with child.use(self._log) as worker:
                        runner = self._get_ready(worker, program, onednn_on)
                        problem = runner.take(variant, inputs, path, numbers)
                except HuboptError as error:
                    if child.is_stopped:
                        raise
                    problem = error.found
                if problem is None:
                    answers[variant] = path
                else:
                    problems[variant] = problem
                    path.unlink(missing_ok=True)
        return Answers(answers, problems)

    def rest(self) -> None:
        """Free the memory of the measurements; the next measurement takes it again."""
        with self._measuring:
            ready, self._ready = self._ready, None
            if ready is not None and ready[0].is_running:
                ready[0].forget()
                ready[0].call(_release_fed_arrays)

    def _child(self, onednn_on: bool) -> SharedWorker:
        is_switched = onednn_on and bool(SHARED_ENVIRONMENT)
        return self._shared if self._shared and is_switched else self._own[onednn_on]

    def _get_ready(self, worker: Worker, program: Program, onednn_on: bool) -> VariantRunner:
        if self._ready is None or self._ready[0] is not worker:
            self._ready = worker, worker.create(VariantRunner, program, onednn_on)
        return self._ready[1]


def _release_fed_arrays() -> None:
    """Free the arrays fed to closed sessions; TensorFlow drops them only at its next call."""
    import tensorflow as tf

    tf.constant([0.0]).numpy()
    trim_heap()


def _switched(onednn_on: bool) -> dict[str, str]:
    return {_SWITCH: "0" if onednn_on else "1"}


class VariantRunner:
    """A program in a child process that computes the variants' answers; see `NoiseMeter`."""

    def __init__(self, program: Program, onednn_on: bool) -> None:
        import tensorflow as tf

        from hubopt._platform.tf_private import onednn_is_on

        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._program = program
        self._switched = onednn_is_on() != onednn_on
        self._graph_def: Any = None
        self._weights: Mapping[str, Any] = {}
        self._shared: GraphRunner | None = None
        self._first: dict[str, list[tuple[Tensors, Tensors]]] = {}
        if program.has_frozen_graph:
            frozen = read_frozen_graph(program)
            self._graph_def, self._weights = lift(frozen.graph_def, frozen.arrays())

    def take(
        self, way: str, inputs: Path, path: Path, numbers: Sequence[int] | None = None
    ) -> str | None:
        """Write the answers of a variant to ``path``, or return why it cannot be computed.

        Args:
            way: One of `VARIANTS`.
            inputs: The file of the samples.
            path: The file to write.
            numbers: The numbers of the samples; by default all.
        """
        problem = self._problem(way)
        if problem is None:
            try:
                numbers = sample_numbers(inputs) if numbers is None else numbers
                samples = read_samples(inputs, self._program.spec.inputs, numbers)
                answers = self._answer_new(way, samples)
                if len(samples) <= LIGHT_SAMPLES:  # they are likely to be requested again
                    self._first[way] = list(zip(samples, answers, strict=True))
                write_samples(path, dict(zip(numbers, answers, strict=True)))
            except HuboptError as error:
                problem = error.found
            except Exception as error:  # TensorFlow may raise anything
                message = f"{type(error).__name__}: {first_line(error)}"
                problem = f"TensorFlow cannot compute it: {message}"
            trim_heap()
        return problem

    def _problem(self, way: str) -> str | None:
        if way == "onednn":
            return None if self._switched else "TensorFlow has one set of kernels on this machine"
        if self._graph_def is None:
            return "not available: the program reads lookup tables, so there is no frozen graph"
        size = self._program.frozen_bytes
        if size > MOST_COPIED_BYTES:
            return (
                f"not available: {size / 1e9:.1f} GB of constants; "
                f"at most {MOST_COPIED_BYTES / 1e9:.0f} GB are copied for this"
            )
        return _xla_problem(self._program) if way == "xla" else None

    def _answer_new(self, way: str, samples: Sequence[Tensors]) -> list[Tensors]:
        """Return the answers to ``samples``, without computing those of the first step again."""
        answers = {
            at: answer
            for known, answer in self._first.get(way, ())
            for at, sample in enumerate(samples)
            if same_tensors(known, sample)
        }
        left = [at for at in range(len(samples)) if at not in answers]
        if left:
            answers.update(zip(left, self._answer(way, [samples[at] for at in left]), strict=True))
        return [answers[at] for at in range(len(samples))]

    def _answer(self, way: str, samples: Sequence[Tensors]) -> list[dict[str, Any]]:
        if self._graph_def is None:
            return self._answer_saved(samples)
        graph_def, weights = self._graph_def, self._weights
        if way == "float64":
            graph_def = widen(graph_def).graph_def
        elif way == "weights":
            graph_def, weights = perturb(graph_def, weights)
        elif way in ROUNDED:
            graph_def, weights = perturb(graph_def, weights, ROUNDING, 1 + ROUNDED.index(way))
        program = self._program
        outputs = [tensor.name for tensor in program.spec.outputs]
        runner = self._runner(way, graph_def, weights)
        return [
            dict(zip(outputs, runner.run(sample, program.output_tensors), strict=True))
            for sample in samples
        ]

    def _runner(
        self, way: str, graph_def: Any, weights: Mapping[str, Any]
    ) -> GraphRunner | CompiledGraph:
        """Return a runner of the graph; most variants share one, which is built only once."""
        program = self._program
        inputs = [tensor.name for tensor in program.spec.inputs]
        fed = dict(zip(inputs, program.input_tensors, strict=True))
        if way == "xla":
            return CompiledGraph(graph_def, fed, weights)
        if way == "float64":  # only the kernels of the CPU were checked for float64
            return GraphRunner(graph_def, fed, weights, on_cpu=True)
        if graph_def is not self._graph_def:
            return GraphRunner(graph_def, fed, weights)
        if self._shared is None:
            self._shared = GraphRunner(graph_def, fed, weights)
        else:
            self._shared.load(weights)
        return self._shared

    def _answer_saved(self, samples: Sequence[Tensors]) -> list[dict[str, Any]]:
        import tensorflow as tf

        # The loaded object owns the tables: it must outlive the calls.
        loaded = tf.saved_model.load(str(self._program.saved_model))
        function = loaded.signatures[SIGNATURE]
        answers = []
        for sample in samples:
            tensors = {
                spec.argument: tf.constant(sample[spec.name], dtype=spec.dtype)
                for spec in self._program.spec.inputs
            }
            outputs = function(**tensors)
            answers.append(
                {spec.name: outputs[spec.name].numpy() for spec in self._program.spec.outputs}
            )
        return answers


def _xla_problem(program: Program) -> str | None:
    unsupported: list[OpUse] = culprits(use for use in program.ops if not use.xla)
    if not unsupported:
        return None
    return f"not available: XLA has no kernel for {', '.join(use.op for use in unsupported)}"
