"""`GraphRunner`: runs a graph and gives any of its tensors."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from hubopt.causes import first_line
from hubopt.errors import TraceError
from hubopt.exporter import Tensors
from hubopt.freezing import rename_functions


class GraphRunner:
    """Runs a ``GraphDef`` kernel by kernel, as eager mode does, or compiled by XLA.

    TensorFlow's graph optimizer (Grappler) is off meanwhile: it merges and reorders
    operations, and so changes the last digits.

    Args:
        graph_def: The graph; it is left as it is.
        inputs: The tensor that is fed, such as ``x:0``, for each input's name.
        weights: The values of placeholders that stand for weights, by their names.
        xla: Whether XLA compiles it, once for each choice of outputs and each shape.

    Raises:
        TraceError: TensorFlow finds an error in the graph.
    """

    def __init__(
        self,
        graph_def: Any,
        inputs: Mapping[str, str],
        weights: Mapping[str, Any] | None = None,
        *,
        xla: bool = False,
    ) -> None:
        import tensorflow as tf

        own = tf.compat.v1.GraphDef()
        own.CopyFrom(graph_def)
        # The process keeps the first function of a name, whatever graph it came with.
        rename_functions(own, f"_{uuid.uuid4().hex}")
        try:
            self._graph = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(own, name=""), [])
        except ValueError as error:
            raise TraceError(
                "graph",
                f"TensorFlow cannot read it: {first_line(error)}",
                "operations and dtypes that fit together",
                "report this with the log: hubopt wrote the graph",
            ) from error
        self._inputs = dict(inputs)
        self._xla = xla
        self._functions: dict[tuple[str, ...], Any] = {}
        self._weights: dict[str, Any] = {}
        self.load(weights or {})

    def load(self, weights: Mapping[str, Any]) -> None:
        """Take these weights, in place of those of the same names."""
        import tensorflow as tf

        for name, value in weights.items():
            place = f"{name}:0"
            if place in self._weights:
                self._weights[place].assign(self._constant(value, place))
            else:  # a variable, since a call with hundreds of arguments takes its time
                constant = self._constant(value, place)
                self._weights[place] = tf.Variable(constant, trainable=False)

    def run(self, tensors: Tensors, fetches: Sequence[str]) -> list[NDArray[Any]]:
        """Return the value of each tensor in ``fetches``, such as ``dense/BiasAdd:0``.

        Args:
            tensors: An array for each input.
            fetches: Any tensors of the graph's top level.
        """
        function = self._pruned(tuple(fetches))
        arguments = [self._constant(tensors[name], place) for name, place in self._inputs.items()]
        with _without_grappler():
            return [tensor.numpy() for tensor in function(*arguments)]

    def function(self, fetches: Sequence[str]) -> Callable[..., list[Any]]:
        """Return the function from the inputs, in order, to ``fetches``; gradients flow through."""
        pruned = self._pruned(tuple(fetches))

        def call(*arguments: Any) -> list[Any]:
            with _without_grappler():
                return list(pruned(*arguments))

        return call

    @property
    def graph(self) -> Any:
        """The ``tf.Graph``."""
        return self._graph.graph

    def extend(self, build: Callable[[Any], Sequence[Any]]) -> list[str]:
        """Add what ``build`` makes of the ``tf.Graph`` to it; return its tensors' names."""
        with self.graph.as_default():
            return [tensor.name for tensor in build(self.graph)]

    def _constant(self, array: Any, place: str) -> Any:
        import tensorflow as tf

        return tf.constant(array, dtype=self._graph.graph.get_tensor_by_name(place).dtype)

    def _pruned(self, fetches: tuple[str, ...]) -> Any:
        """Return the function from the inputs to ``fetches``, made once."""
        import tensorflow as tf

        if fetches not in self._functions:
            pruned = self._graph.prune([*self._inputs.values(), *self._weights], list(fetches))
            variables = list(self._weights.values())
            self._functions[fetches] = tf.function(
                # Read here: a tape cannot follow a variable into a graph function.
                lambda *arguments: pruned(*arguments, *(each.read_value() for each in variables)),
                autograph=False,
                jit_compile=self._xla or None,
            )
        return self._functions[fetches]


@contextmanager
def _without_grappler() -> Iterator[None]:
    import tensorflow as tf

    options = tf.config.optimizer
    switch = "disable_meta_optimizer"
    before = options.get_experimental_options().get(switch, False)
    options.set_experimental_options({switch: True})
    try:
        yield
    finally:
        options.set_experimental_options({switch: before})
