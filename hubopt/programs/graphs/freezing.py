"""`freeze`: inline a traced function; its variables become constants or separate weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hubopt._platform import tf_private
from hubopt.programs.graphs import tf_freezing
from hubopt.programs.graphs.frozen_graph import LARGE_BYTES, NUMBERS, import_function
from hubopt.programs.graphs.functions import nodes, rename_functions
from hubopt.programs.graphs.state import state_error


@dataclass(frozen=True, slots=True)
class Frozen:
    """A graph without variables, with its large constants stored separately.

    Attributes:
        graph: The ``tf.Graph``, with a placeholder for each weight.
        inputs: The input tensors, in order.
        outputs: The output tensors, in order.
        weights: The variables and tensors that are stored separately, by the placeholder's name.
    """

    graph: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    weights: Mapping[str, Any]

    def function(self) -> Any:
        """Return a function from the inputs to the outputs."""
        graph_def = self.graph.as_graph_def()
        rename_functions(graph_def, "_frozen")
        fed = [tensor.name for tensor in self.inputs] + [f"{name}:0" for name in self.weights]
        whole = import_function(graph_def, fed, [tensor.name for tensor in self.outputs])
        return lambda *inputs: whole(*inputs, *self.weights.values())


def freeze(concrete: Any) -> Frozen:
    """Freeze a concrete function, including TensorFlow 1's reference variables.

    Raises:
        TraceError: The function changes its variables, or draws random numbers from a generator
            whose state it keeps.
    """
    try:
        parts = tf_freezing.freeze(_without_references(concrete), is_large)
    except Exception as error:
        known = state_error(node.op for node in nodes(concrete.graph.as_graph_def()))
        if known is not None:
            raise known from error
        raise
    left = state_error(node.op for node in nodes(parts.graph.as_graph_def()))
    if left is not None:  # frozen, but it would take the value of a variable for the variable
        raise left
    inputs, outputs = (
        tuple(parts.graph.get_tensor_by_name(name) for name in names)
        for names in (parts.inputs, parts.outputs)
    )
    return Frozen(parts.graph, inputs, outputs, parts.apart)


def is_large(value: Any) -> bool:
    """Whether a variable or tensor is a weight that is stored separately from the graph."""
    count = value.shape.num_elements()
    dtype = value.dtype.base_dtype
    return dtype.name in NUMBERS and count is not None and count * dtype.size >= LARGE_BYTES


def _without_references(concrete: Any) -> Any:
    """Replace TensorFlow 1's reference variables, which cannot be frozen, by constants."""
    graph_def = concrete.graph.as_graph_def()
    variables = reference_nodes(graph_def)
    if not variables:
        return concrete
    values = tf_private.reference_values(variables)
    for node in variables:
        node.CopyFrom(tf_private.constant_node(node.name, values[node.name]))
    for function in graph_def.library.function:  # a function refers to a node's output by its name
        for node in function.node_def:
            node.input[:] = [_constant_output(name, values) for name in node.input]
        for result, name in function.ret.items():
            function.ret[result] = _constant_output(name, values)
    return _rebuild(graph_def, concrete)


def _constant_output(name: str, constants: Collection[str]) -> str:
    node, _, output = name.partition(":")
    return f"{node}:output:0" if output == "ref:0" and node in constants else name


def reference_nodes(graph_def: Any) -> list[Any]:
    """Return the nodes of TensorFlow 1's reference variables in ``graph_def``."""
    return [node for node in nodes(graph_def) if node.op in tf_private.REFERENCE_VARIABLES]


def _rebuild(graph_def: Any, original: Any) -> Any:
    """Make a function from ``graph_def``, the changed graph of ``original``."""
    import tensorflow as tf

    rename_functions(graph_def, "_inlinable")
    inputs = [tensor.name for tensor in original.inputs]
    outputs = [tensor.name for tensor in original.outputs]
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    return wrapped.prune(inputs, outputs)
