"""`CompiledGraph`: run a graph compiled by XLA."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from hubopt.exporter import Tensors
from hubopt.programs.graphs.frozen_graph import import_function
from hubopt.programs.graphs.functions import rename_functions
from hubopt.programs.graphs.graph_runs import translate_errors


class CompiledGraph:
    """Runs a ``GraphDef`` that XLA compiles once for each choice of outputs and each shape.

    Args:
        graph_def: The graph; it is not changed.
        inputs: The tensor to feed, such as ``x:0``, by the name of the input.
        weights: The values of placeholders that stand for weights, by their names.
    """

    def __init__(
        self,
        graph_def: Any,
        inputs: Mapping[str, str],
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        import tensorflow as tf

        self._graph_def = tf.compat.v1.GraphDef()
        self._graph_def.CopyFrom(graph_def)
        # The process keeps the first function of a name, even for another graph.
        rename_functions(self._graph_def, f"_{uuid.uuid4().hex}")
        self._inputs = dict(inputs)
        self._functions: dict[tuple[str, ...], Any] = {}
        given = weights or {}
        self._dtypes = {
            f"{node.name}:0": tf.as_dtype(node.attr["dtype"].type)
            for node in graph_def.node
            if node.name in given or f"{node.name}:0" in inputs.values()
        }
        # Variables, because a call with hundreds of arguments is slow.
        self._weights = {
            f"{name}:0": tf.Variable(self._constant(value, f"{name}:0"), trainable=False)
            for name, value in given.items()
        }

    def run(self, tensors: Tensors, fetches: Sequence[str]) -> list[NDArray[Any]]:
        """Return the value of each tensor in ``fetches``, such as ``dense/BiasAdd:0``.

        Args:
            tensors: An array for each input.
            fetches: Any tensors of the graph's top level.

        Raises:
            TraceError: TensorFlow finds an error in the graph.
        """
        function = self._compiled(tuple(fetches))
        arguments = [self._constant(tensors[name], place) for name, place in self._inputs.items()]
        return [tensor.numpy() for tensor in function(*arguments)]

    def _constant(self, array: Any, place: str) -> Any:
        import tensorflow as tf

        return tf.constant(array, dtype=self._dtypes[place])

    def _compiled(self, fetches: tuple[str, ...]) -> Any:
        """Return the function from the inputs to ``fetches``, made once."""
        import tensorflow as tf

        if fetches not in self._functions:
            places = [*self._inputs.values(), *self._weights]
            with translate_errors():
                whole = import_function(self._graph_def, places, fetches)
            variables = list(self._weights.values())
            self._functions[fetches] = tf.function(
                lambda *arguments: whole(*arguments, *variables),
                autograph=False,
                jit_compile=True,
            )
        return self._functions[fetches]
