"""`VariantRunner`: a program in a child process that computes the answers of the variants."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubopt._platform.causes import first_line
from hubopt._util.trimming import trim_heap
from hubopt.errors import HuboptError
from hubopt.exporter import OpUse, Program, Tensors, culprits
from hubopt.parity.reference import same_tensors
from hubopt.parity.ties import DRAWS, TIES, moved, tie_number
from hubopt.programs.graphs.compiled_graph import CompiledGraph
from hubopt.programs.graphs.float64 import widen
from hubopt.programs.graphs.frozen_graph import read_frozen_graph
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.programs.graphs.jitter import jitter
from hubopt.programs.graphs.perturbing import ROUNDING, lift, perturb
from hubopt.programs.serving import SIGNATURE
from hubopt.reference.reference_set import LIGHT_SAMPLES
from hubopt.reference.xla_error import first_xla_error
from hubopt.sampling.arrays import read_samples, sample_numbers, write_samples

_LOG = logging.getLogger(__name__)

ROUNDED = ("rounded1", "rounded2", "rounded3")
VARIANTS = ("onednn", "float64", "weights", *ROUNDED, "xla")
"""``onednn``: with oneDNN switched; ``float64``: in float64; ``weights``: with other weights, which
is not noise but shows whether the answers depend on the weights; `ROUNDED`: with weights perturbed
by a rounding, three times, since on an ill-conditioned model one draw of the noise says little
about the next; ``xla``: compiled. XLA is the last, because it can crash the process."""

_FIRST_DRAWS = 8
"""After how many equal answers there is no tie; one of two elements shows with 99 %."""
MOST_COPIED_BYTES = 10**9
"""The largest graph that is computed by variants other than ``onednn``: with other weights, which
are held beside the original ones, in float64, or compiled by XLA, which copies some constants."""


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
        self, variant: str, inputs: Path, path: Path, numbers: Sequence[int] | None = None
    ) -> str | None:
        """Write the answers of a variant to ``path``, or return why it cannot be computed.

        Args:
            variant: One of `VARIANTS`, or `TIES` for up to `DRAWS` answers to each sample on which
                the layer's order is a tie, numbered by `tie_number`.
            inputs: The file of the samples.
            path: The file to write.
            numbers: The numbers of the samples; by default all.
        """
        problem = self._problem(variant)
        if problem is None:
            try:
                numbers = sample_numbers(inputs) if numbers is None else numbers
                samples = read_samples(inputs, self._program.spec.inputs, numbers)
                if variant == TIES:
                    write_samples(path, self._draw_orders(dict(zip(numbers, samples, strict=True))))
                    return None
                answers = self._answer_new(variant, samples)
                if len(samples) <= LIGHT_SAMPLES:  # they are likely to be requested again
                    self._first[variant] = list(zip(samples, answers, strict=True))
                write_samples(path, dict(zip(numbers, answers, strict=True)))
            except HuboptError as error:
                problem = error.found
            except Exception as error:  # TensorFlow may raise anything
                message = f"{type(error).__name__}: {first_line(error)}"
                problem = f"TensorFlow cannot compute it: {message}"
            trim_heap()
        return problem

    def find_xla_error(self, inputs: Path, number: int, output: str) -> str | None:
        """See `NoiseMeter.find_xla_error`."""
        program = self._program
        (sample,) = read_samples(inputs, program.spec.inputs, [number])
        tensor = program.output_tensors[program.spec.output_names.index(output)]
        plain, compiled = (
            self._runner(variant, self._graph_def, self._weights) for variant in ("onednn", "xla")
        )
        try:
            return first_xla_error(self._graph_def, tensor, sample, plain, compiled, self._weights)
        except Exception as error:  # a tensor inside the graph may have no static shape
            _LOG.info("XLA's error is not found: %s", first_line(error))
            return None

    def _problem(self, variant: str) -> str | None:
        if variant == "onednn":
            return None if self._switched else "TensorFlow has one set of kernels on this machine"
        if self._graph_def is None:
            return "not available: the program reads lookup tables, so there is no frozen graph"
        size = self._program.frozen_bytes
        if size > MOST_COPIED_BYTES:
            return (
                f"not available: {size / 1e9:.1f} GB of constants; "
                f"at most {MOST_COPIED_BYTES / 1e9:.0f} GB are copied for this"
            )
        return _xla_problem(self._program) if variant == "xla" else None

    def _answer_new(self, variant: str, samples: Sequence[Tensors]) -> list[Tensors]:
        """Return the answers to ``samples``, without computing those of the first step again."""
        answers = {
            at: answer
            for known, answer in self._first.get(variant, ())
            for at, sample in enumerate(samples)
            if same_tensors(known, sample)
        }
        left = [at for at in range(len(samples)) if at not in answers]
        if left:
            answers.update(
                zip(left, self._answer(variant, [samples[at] for at in left]), strict=True)
            )
        return [answers[at] for at in range(len(samples))]

    def _draw_orders(self, samples: Mapping[int, Tensors]) -> dict[int, Tensors]:
        """Return the different answers with jittered sort keys to samples with several."""
        program = self._program
        outputs = program.spec.output_names
        runner = self._runner(TIES, jitter(self._graph_def), self._weights)
        found: dict[int, Tensors] = {}
        for number, sample in samples.items():
            answers: list[Tensors] = []
            for draw in range(DRAWS):
                if draw == _FIRST_DRAWS and len(answers) == 1:
                    break
                arrays = runner.run(sample, program.output_tensors)
                answer = dict(zip(outputs, arrays, strict=True))
                if not any(_is_same(answer, other) for other in answers):
                    answers.append(answer)
            if len(answers) > 1:
                found.update({tie_number(number, at): each for at, each in enumerate(answers)})
        return found

    def _answer(self, variant: str, samples: Sequence[Tensors]) -> list[dict[str, Any]]:
        if self._graph_def is None:
            return self._answer_saved(samples)
        graph_def, weights = self._graph_def, self._weights
        if variant == "float64":
            graph_def = widen(graph_def).graph_def
        elif variant == "weights":
            graph_def, weights = perturb(graph_def, weights)
        elif variant in ROUNDED:
            graph_def, weights = perturb(graph_def, weights, ROUNDING, 1 + ROUNDED.index(variant))
        program = self._program
        outputs = [tensor.name for tensor in program.spec.outputs]
        runner = self._runner(variant, graph_def, weights)
        return [
            dict(zip(outputs, runner.run(sample, program.output_tensors), strict=True))
            for sample in samples
        ]

    def _runner(
        self, variant: str, graph_def: Any, weights: Mapping[str, Any]
    ) -> GraphRunner | CompiledGraph:
        """Return a runner of the graph; most variants share one, which is built only once."""
        program = self._program
        inputs = [tensor.name for tensor in program.spec.inputs]
        fed = dict(zip(inputs, program.input_tensors, strict=True))
        if variant == "xla":
            return CompiledGraph(graph_def, fed, weights)
        if variant == "float64":  # only the kernels of the CPU were checked for float64
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


def _is_same(one: Tensors, other: Tensors) -> bool:
    return all(
        np.shape(one[name]) == np.shape(other[name])
        and not moved(np.asarray(one[name]), np.asarray(other[name])).any()
        for name in one
    )


def _xla_problem(program: Program) -> str | None:
    unsupported: list[OpUse] = culprits(use for use in program.ops if not use.xla)
    if not unsupported:
        return None
    return f"not available: XLA has no kernel for {', '.join(use.op for use in unsupported)}"
