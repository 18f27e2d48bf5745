"""The reference side: any tensor of the program's graph, and how steady float32 is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubopt.diagnosis.names import Tensor
from hubopt.errors import HuboptError, TraceError
from hubopt.exporter import Program
from hubopt.programs.graphs.frozen_graph import read_frozen_graph
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.sampling.arrays import read_samples, write_samples

ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0"}
"""For the child: oneDNN's kernels are off by far more than float32's own rounding."""


class Reference:
    """A traced program whose every tensor can be had; it lives in a child process.

    Args:
        program: The program; it has a frozen graph.

    Raises:
        TraceError: The program reads lookup tables, so that there is no frozen graph.
    """

    def __init__(self, program: Program) -> None:
        import tensorflow as tf

        if not program.has_frozen_graph:
            raise TraceError(
                "program",
                "it reads resources, such as lookup tables, and has no frozen graph",
                "a graph of constants, every tensor of which can be run",
                "export a signature behind the lookup, if the model has one",
            )
        frozen = read_frozen_graph(program)
        graph_def, weights = frozen.graph_def, frozen.arrays()
        self._spec = program.spec
        self._weights = frozenset(weights)
        self._graph = tf.Graph()
        with self._graph.as_default():
            tf.import_graph_def(graph_def, name="")
        inputs = dict(
            zip([each.name for each in program.spec.inputs], program.input_tensors, strict=True)
        )
        self._narrow = GraphRunner(graph_def, inputs, weights)
        self._wide, self._problem = _widened(graph_def, inputs, weights)

    def tensors(self) -> list[Tensor]:
        """Return every tensor of the graph in topological order."""
        found: dict[str, Tensor] = {}
        operations = {each.name: each for each in self._graph.get_operations()}
        waiting = list(reversed(operations.values()))
        while waiting:  # GraphDefs need not be sorted
            operation = waiting[-1]
            missing = [
                each.op
                for each in operation.inputs
                if each.name not in found and each.op is not operation
            ]
            if missing and operation.type not in ("Merge", "NextIteration"):
                waiting += missing
                continue
            waiting.pop()
            for each in operation.outputs:
                found.setdefault(each.name, self._describe(each))
        return list(found.values())

    def problem(self) -> str | None:
        """Return why the reference is not computed in float64; None if it is."""
        return self._problem

    def answer(
        self, inputs: Path, samples: Sequence[int], fetches: Sequence[str], folder: Path
    ) -> None:
        """Write the tensors ``fetches`` of some samples to ``folder``.

        ``wide.npz`` has them in float64 where that can be had, ``narrow.npz`` in the program's
        own precision: the difference is how far rounding alone moves them.
        """
        given = read_samples(inputs, self._spec.inputs)
        narrow = [self._run(self._narrow, given[at], fetches) for at in samples]
        wide = narrow
        if self._wide is not None:
            wide = [self._run(self._wide, given[at], fetches) for at in samples]
        write_samples(folder / "wide.npz", wide)
        write_samples(folder / "narrow.npz", narrow)

    def _describe(self, tensor: Any) -> Tensor:
        shape = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
        # A placeholder that stands for a weight is no input.
        op = "Const" if tensor.op.name in self._weights else tensor.op.type
        return Tensor(tensor.name, shape, op, tuple(each.name for each in tensor.op.inputs))

    def _run(
        self, runner: GraphRunner, inputs: Mapping[str, Any], fetches: Sequence[str]
    ) -> dict[str, Any]:
        arrays = runner.run(inputs, fetches)
        return {name: _plain(array) for name, array in zip(fetches, arrays, strict=True)}


def _widened(
    graph_def: Any, inputs: Mapping[str, str], weights: Mapping[str, Any]
) -> tuple[GraphRunner | None, str | None]:
    from hubopt.programs.graphs.float64 import widen

    try:
        return GraphRunner(widen(graph_def).graph_def, inputs, weights, on_cpu=True), None
    except HuboptError as error:
        return None, f"{error.thing}: {error.found}"


def _plain(array: Any) -> Any:
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype.name in ("bfloat16", "float16") else array
