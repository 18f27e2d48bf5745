"""`GraphRunner`: run a graph and return any of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._platform.causes import first_line
from hubopt.errors import TraceError
from hubopt.exporter import Tensors
from hubopt.programs.graphs.checkpoints import batches
from hubopt.programs.graphs.variables import read_variable


class GraphRunner:
    """Runs a ``GraphDef`` kernel by kernel, as eager mode does.

    It uses a session, so that no function need be traced for the fetched tensors. TensorFlow's
    graph optimizer (Grappler) is off, because it merges and reorders operations and so changes
    the last digits.

    Args:
        graph_def: The graph; it is not changed.
        inputs: The tensor to feed, such as ``x:0``, by the name of the input.
        weights: The values of placeholders that stand for weights, by their names.
        on_cpu: Whether to run on the CPU only.

    Raises:
        TraceError: TensorFlow finds an error in the graph.
    """

    def __init__(
        self,
        graph_def: Any,
        inputs: Mapping[str, str],
        weights: Mapping[str, Any] | None = None,
        *,
        on_cpu: bool = False,
    ) -> None:
        import tensorflow as tf

        own = tf.compat.v1.GraphDef()
        own.CopyFrom(graph_def)
        weights = weights or {}
        self._assigns = {
            node.name: _fed_variable(own, node) for node in list(own.node) if node.name in weights
        }
        self.graph = tf.Graph()
        """The ``tf.Graph``."""
        with translate_errors(), self.graph.as_default():
            tf.import_graph_def(own, name="")
        self._inputs = dict(inputs)
        self._session = tf.compat.v1.Session(graph=self.graph, config=_config(on_cpu))
        self._calls: dict[tuple[str, ...], Any] = {}
        self.load(weights)

    def load(self, weights: Mapping[str, Any]) -> None:
        """Load these weights, replacing those of the same names."""
        for batch in batches((name, np.asarray(weights[name])) for name in weights):
            # A session run takes as long as loading ten megabytes, so load weights in batches.
            fed = {f"{name}{_VALUE}:0": value for name, value in batch.items()}
            self._session.run([self._assigns[name] for name in batch], fed)

    def run(
        self,
        tensors: Tensors,
        fetches: Sequence[str],
        more: Mapping[str, NDArray[Any]] | None = None,
    ) -> list[NDArray[Any]]:
        """Return the value of each tensor in ``fetches``, such as ``dense/BiasAdd:0``.

        Args:
            tensors: An array for each input.
            fetches: Any tensors of the graph's top level.
            more: Arrays to feed for other tensors of the graph, by their names.

        Raises:
            tensorflow.errors.OpError: A kernel rejects its arguments.
        """
        fed = {place: tensors[name] for name, place in self._inputs.items()} | dict(more or {})
        key = (*fetches, "", *fed)
        if key not in self._calls:
            self._calls[key] = self._session.make_callable(list(fetches), list(fed))
        arrays: list[NDArray[Any]] = self._calls[key](*fed.values())
        return arrays

    def extend(self, build: Callable[[Any], Sequence[Any]]) -> list[str]:
        """Let ``build`` add tensors to the ``tf.Graph``; return their names."""
        with self.graph.as_default():
            return [tensor.name for tensor in build(self.graph)]


_VALUE = "/hubopt/value"
"""The suffix of the name of the placeholder that feeds a variable."""


def _fed_variable(graph_def: Any, node: Any) -> str:
    """Turn ``node``, a placeholder, into a read of a variable; return the assign operation."""
    value = graph_def.node.add(name=f"{node.name}{_VALUE}", op="Placeholder")
    value.attr["dtype"].CopyFrom(node.attr["dtype"])
    return read_variable(graph_def, node, value.name)


def _config(on_cpu: bool) -> Any:
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    config.gpu_options.allow_growth = True  # other processes share the GPU
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = tf.compat.v1.OptimizerOptions.L0
    if on_cpu:
        config.device_count["GPU"] = 0
    return config


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn an error that TensorFlow finds in a graph into a `TraceError`."""
    try:
        yield
    except ValueError as error:
        raise TraceError(
            "graph",
            f"TensorFlow cannot read it: {first_line(error)}",
            "operations with matching dtypes",
            "report this with the log, because hubopt wrote the graph",
        ) from error
