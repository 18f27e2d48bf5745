"""Reads and changes an ONNX model: constants, inserted nodes, weighted layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.mutations.values import Layout
from benchmarks.mutations.weights import WeightedLayer

Step = tuple[str, list[Any], dict[str, Any]]
"""A node to insert: operator, further inputs, attributes."""


@dataclass(frozen=True, slots=True)
class OnnxView:
    """A model and the facts about its tensors.

    Attributes:
        nodes: The nodes of the outermost graph.
        constants: The initializers by name.
        shapes: The static shapes of float32 tensors that nodes compute, by name.
        inputs: The names of the graph's inputs.
        outputs: The shapes of the graph's outputs by name.
    """

    nodes: tuple[Any, ...]
    constants: dict[str, NDArray[Any]]
    shapes: dict[str, tuple[int, ...]]
    inputs: tuple[str, ...]
    outputs: dict[str, tuple[int, ...]]


def view(model: Any) -> OnnxView:
    """Return a view of ``model``, an ONNX ``ModelProto`` with static shapes."""
    from onnx import numpy_helper, shape_inference

    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    types = {value.name: value.type.tensor_type for value in (*graph.value_info, *graph.output)}
    return OnnxView(
        tuple(graph.node),
        constants,
        {
            node.output[0]: _shape(types[node.output[0]])
            for node in graph.node
            if node.output[0] in types and _is_static_float(types[node.output[0]])
        },
        tuple(value.name for value in graph.input if value.name not in constants),
        {value.name: _shape(value.type.tensor_type) for value in graph.output},
    )


def _shape(tensor_type: Any) -> tuple[int, ...]:
    return tuple(int(dim.dim_value) for dim in tensor_type.shape.dim)


def _is_static_float(tensor_type: Any) -> bool:
    from onnx import TensorProto

    return tensor_type.elem_type == TensorProto.FLOAT and all(
        dim.dim_value for dim in tensor_type.shape.dim
    )


def node_of(model: Any, output: str) -> Any:
    """Return the node of ``model`` whose first output is ``output``."""
    return next(node for node in model.graph.node if node.output[0] == output)


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return the value of a node's attribute."""
    from onnx import helper

    found = [candidate for candidate in node.attribute if candidate.name == name]
    return helper.get_attribute_value(found[0]) if found else default


def put_attribute(model: Any, name: str, value: Any, output: str) -> None:
    """Change an attribute of the node that computes ``output``."""
    from onnx import helper

    node = node_of(model, output)
    kept = [other for other in node.attribute if other.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def put_constant(model: Any, array: NDArray[Any], output: str, slot: int) -> None:
    """Give the node that computes ``output`` a new constant as input ``slot``."""
    node = node_of(model, output)
    node.input[slot] = add_constant(model, f"{output}__input{slot}", array)


def add_constant(model: Any, name: str, array: NDArray[Any]) -> str:
    """Add an initializer; return its name."""
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return name


def insert_after(model: Any, output: str, steps: Sequence[Step]) -> None:
    """Insert a chain of nodes between the node that computes ``output`` and its consumers.

    The last node of the chain then computes the tensor ``output``.

    Args:
        model: Changed in place.
        output: The first output of a node.
        steps: Operator, further inputs (arrays or tensor names; `None` stands for the chain's own
            tensor, which otherwise comes first), attributes.
    """
    from onnx import helper

    graph = model.graph
    at = next(at for at, node in enumerate(graph.node) if node.output[0] == output)
    tensor = f"{output}__clean"
    graph.node[at].output[0] = tensor
    for step, (op, others, attributes) in enumerate(steps):
        names = [
            tensor
            if other is None
            else other
            if isinstance(other, str)
            else add_constant(model, f"{output}__step{step}_{slot}", other)
            for slot, other in enumerate(others)
        ]
        if not any(other is None for other in others):
            names = [tensor, *names]
        tensor = output if step == len(steps) - 1 else f"{output}__step{step}"
        graph.node.insert(at + 1 + step, helper.make_node(op, names, [tensor], **attributes))


def weighted_layers(graph: OnnxView) -> Iterator[WeightedLayer]:
    """Yield the convolutions and matrix products with constant weights."""
    for node in graph.nodes:
        if len(node.input) < 2 or node.input[1] not in graph.constants:
            continue
        weight = graph.constants[node.input[1]]
        layout = _layout(node, weight)
        if layout is None or weight.dtype != np.float32:
            continue
        bias = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        yield WeightedLayer(
            node.output[0],
            node.op_type,
            weight,
            layout,
            bias,
            partial(put_constant, output=node.output[0], slot=1),
            partial(put_constant, output=node.output[0], slot=2),
        )


def _layout(node: Any, weight: NDArray[Any]) -> Layout | None:
    if node.op_type == "Conv" and weight.ndim == 4:
        depthwise = weight.shape[1] == 1 and attribute(node, "group", 1) > 1
        return Layout(0, None if depthwise else 1, (2, 3))
    if node.op_type in ("Gemm", "MatMul") and weight.ndim == 2:
        return Layout(0, 1) if attribute(node, "transB", 0) else Layout(1, 0)
    return None
