"""The layer's answers computed in other ways: what an artifact's differences are weighed against.

The eager layer is a reference with an error of its own. TensorFlow has two sets of kernels on
a CPU, its own and oneDNN's, and picks one by the processor; XLA has a third. How far their
answers lie apart is the noise of the reference; the same graph in float64 is a better one.
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
"""With oneDNN switched; in float64; with other weights, which is no noise but shows whether the
answers depend on them; with weights moved by a rounding, three times, since on an ill-conditioned
model one draw of the noise tells little of the next; compiled. XLA last: it can end the process."""

_SWITCH = "TF_ENABLE_ONEDNN_OPTS"
SHARED_ENVIRONMENT = {} if _SWITCH in os.environ else {_SWITCH: "0"}
"""What a child needs that is to measure noise beside other things. Of most processors oneDNN is
used where nobody says otherwise, so this switches it; if not, noise has a child of its own."""
IMPORTS = ("tensorflow", __name__)
"""What it imports."""
MOST_COPIED_BYTES = 10**9
"""Of a graph that is run in other ways than with oneDNN switched: with other weights, which stand
beside those it has, in float64, or compiled, which copies some."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the layer answers to the samples in other ways.

    Attributes:
        answers: The file of `hubopt.sampling.arrays` with all outputs, for each of `VARIANTS` that
            was computed. Those in float64 are stored as such.
        problems: Why a way was not taken.
    """

    answers: Mapping[str, Path]
    problems: Mapping[str, str]


class NoiseMeter:
    """Asks a program in other ways, in a child process with oneDNN switched.

    A way that fails is told and costs no other; a child that dies is started again. Use it as a
    context manager: leaving ends the child, unless others use it, too.

    Args:
        log: Gets what the child prints.
        shared: A child with `SHARED_ENVIRONMENT` that others use, too. It is taken if oneDNN
            is switched there.
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
        """Answer the samples in every one of ``ways``.

        Args:
            program: The traced layer, always the same. Without a frozen graph, as with lookup
                tables, only ``onednn`` can be taken.
            inputs: The samples.
            folder: Where ``onednn.npz`` and so on are written.
            onednn_on: Whether the reference is computed with oneDNN's kernels, see
                `hubopt._platform.tf_private.onednn_is_on`.
            ways: Of `VARIANTS`.
            numbers: Which samples; by default all.

        Raises:
            WorkerCrashError: It was left meanwhile, by another thread.
        """
        folder.mkdir(parents=True, exist_ok=True)
        child = self._child(onednn_on)
        answers: dict[str, Path] = {}
        problems: dict[str, str] = {}
        with self._measuring:
            for way in ways:
                path = folder / f"{way}.npz"
                try:
                    with child.use(self._log) as worker:
                        ways_there = self._get_ready(worker, program, onednn_on)
                        problem = ways_there.take(way, inputs, path, numbers)
                except HuboptError as error:
                    if child.is_stopped:
                        raise
                    problem = error.found
                if problem is None:
                    answers[way] = path
                else:
                    problems[way] = problem
                    path.unlink(missing_ok=True)
        return Answers(answers, problems)

    def rest(self) -> None:
        """Give back the memory of what is measured; what is measured next takes it again."""
        with self._measuring:
            ready, self._ready = self._ready, None
            if ready is not None and ready[0].is_running:
                ready[0].forget()
                ready[0].call(_let_go_of_fed_arrays)

    def _child(self, onednn_on: bool) -> SharedWorker:
        is_switched = onednn_on and bool(SHARED_ENVIRONMENT)
        return self._shared if self._shared and is_switched else self._own[onednn_on]

    def _get_ready(self, worker: Worker, program: Program, onednn_on: bool) -> VariantRunner:
        if self._ready is None or self._ready[0] is not worker:
            self._ready = worker, worker.create(VariantRunner, program, onednn_on)
        return self._ready[1]


def _let_go_of_fed_arrays() -> None:
    """Give back what sessions that are gone were fed: TensorFlow drops it at its next call only."""
    import tensorflow as tf

    tf.constant([0.0]).numpy()
    trim_heap()


def _switched(onednn_on: bool) -> dict[str, str]:
    return {_SWITCH: "0" if onednn_on else "1"}


class VariantRunner:
    """A program in a child process, ready to answer the samples; see `NoiseMeter`."""

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
        """Write the answers of one of `VARIANTS` to ``path``, or return why there are none.

        Args:
            way: Which.
            inputs: The samples.
            path: Where to write.
            numbers: Which samples; by default all.
        """
        problem = self._problem(way)
        if problem is None:
            try:
                numbers = sample_numbers(inputs) if numbers is None else numbers
                samples = read_samples(inputs, self._program.spec.inputs, numbers)
                answers = self._answer_new(way, samples)
                if len(samples) <= LIGHT_SAMPLES:  # they are likely to be asked again
                    self._first[way] = list(zip(samples, answers, strict=True))
                write_samples(path, dict(zip(numbers, answers, strict=True)))
            except HuboptError as error:
                problem = error.found
            except Exception as error:  # whatever TensorFlow raises
                told = f"{type(error).__name__}: {first_line(error)}"
                problem = f"TensorFlow cannot compute it: {told}"
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
                f"up to {MOST_COPIED_BYTES / 1e9:.0f} GB are copied for it"
            )
        return _xla_problem(self._program) if way == "xla" else None

    def _answer_new(self, way: str, samples: Sequence[Tensors]) -> list[Tensors]:
        """Return the answers to ``samples``; those of a first look are not computed again."""
        answers = {
            at: answer
            for asked, answer in self._first.get(way, ())
            for at, sample in enumerate(samples)
            if same_tensors(asked, sample)
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
        outputs = [each.name for each in program.spec.outputs]
        runner = self._runner(way, graph_def, weights)
        return [
            dict(zip(outputs, runner.run(sample, program.output_tensors), strict=True))
            for sample in samples
        ]

    def _runner(
        self, way: str, graph_def: Any, weights: Mapping[str, Any]
    ) -> GraphRunner | CompiledGraph:
        """Return what runs the graph; the one that most ways share is built once."""
        program = self._program
        inputs = [each.name for each in program.spec.inputs]
        fed = dict(zip(inputs, program.input_tensors, strict=True))
        if way == "xla":
            return CompiledGraph(graph_def, fed, weights)
        if way == "float64":  # the kernels of the CPU were asked whether they can compute it
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
                each.argument: tf.constant(sample[each.name], dtype=each.dtype)
                for each in self._program.spec.inputs
            }
            outputs = function(**tensors)
            answers.append(
                {each.name: outputs[each.name].numpy() for each in self._program.spec.outputs}
            )
        return answers


def _xla_problem(program: Program) -> str | None:
    without: list[OpUse] = culprits(use for use in program.ops if not use.xla)
    if not without:
        return None
    return f"not available: XLA has no kernel for {', '.join(use.op for use in without)}"
