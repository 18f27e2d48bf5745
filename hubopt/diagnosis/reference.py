"""The reference: any tensor of the program's graph, in float64 and in its own precision."""

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
"""The child's environment: oneDNN is off, because its kernels deviate by far more than float32
rounding."""


class Reference:
    """Evaluates any tensor of a traced program; it lives in a child process.

    Args:
        program: The program, with a frozen graph.

    Raises:
        TraceError: The program has no frozen graph, because it reads lookup tables.
    """

    def __init__(self, program: Program) -> None:
        import tensorflow as tf

        if not program.has_frozen_graph:
            raise TraceError(
                "program",
                "it reads resources, such as lookup tables, and has no frozen graph",
                "a graph of constants, of which every tensor can be evaluated",
                "export a signature that starts after the lookup, if the model has one",
            )
        frozen = read_frozen_graph(program)
        graph_def, weights = frozen.graph_def, frozen.arrays()
        self._spec = program.spec
        self._weights = frozenset(weights)
        self._graph = tf.Graph()
        with self._graph.as_default():
            tf.import_graph_def(graph_def, name="")
        inputs = dict(
            zip([given.name for given in program.spec.inputs], program.input_tensors, strict=True)
        )
        self._narrow = GraphRunner(graph_def, inputs, weights)
        self._wide, self._problem = _widened(graph_def, inputs, weights)

    def tensors(self) -> list[Tensor]:
        """Return every tensor of the graph in topological order."""
        described: dict[str, Tensor] = {}
        operations = {operation.name: operation for operation in self._graph.get_operations()}
        waiting = list(reversed(operations.values()))
        while waiting:  # GraphDefs need not be sorted
            operation = waiting[-1]
            missing = [
                tensor.op
                for tensor in operation.inputs
                if tensor.name not in described and tensor.op is not operation
            ]
            if missing and operation.type not in ("Merge", "NextIteration"):
                waiting += missing
                continue
            waiting.pop()
            for tensor in operation.outputs:
                described.setdefault(tensor.name, self._describe(tensor))
        return list(described.values())

    def problem(self) -> str | None:
        """Return why the reference is not computed in float64; None if it is."""
        return self._problem

    def answer(
        self, inputs: Path, samples: Sequence[int], fetches: Sequence[str], folder: Path
    ) -> None:
        """Write the tensors ``fetches`` of some samples to ``folder``.

        ``wide.npz`` has them in float64 where that is available, ``narrow.npz`` in the program's
        own precision. The difference between the two is the rounding noise.
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
        # A placeholder that stands for a weight is not an input.
        op = "Const" if tensor.op.name in self._weights else tensor.op.type
        return Tensor(tensor.name, shape, op, tuple(read.name for read in tensor.op.inputs))

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
