"""Faults of tf2onnx that are mended in the model that it wrote.

``tests/exporters/test_onnx_mending.py`` shows what each of them does, and fails if an upgrade of
tf2onnx makes the mending superfluous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt_exporters.onnx_graphs import free_name, nodes, taken_names


def mend(model: Any) -> None:
    """Mend ``model``, a ``ModelProto``, in place."""
    _separate_counts(model.graph, {}, taken_names(model.graph))
    _state_sizes(model)


def _separate_counts(graph: Any, outer: Mapping[str, Any], taken: set[str]) -> None:
    """Give a loop its int32 constants back.

    tf2onnx makes the constant with the number of iterations int64 in place, even if the loop
    also reads it as an int32. A Keras 3 network with a recurrent layer of a fixed length does.
    """
    import onnx

    constants = {**outer, **{tensor.name: tensor for tensor in graph.initializer}}
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _separate_counts(inner, constants, taken)
        if node.op_type != "Loop":
            continue
        (body,) = (attribute.g for attribute in node.attribute if attribute.name == "body")
        for at, state in list(enumerate(body.input))[2:]:  # after the number and the condition
            constant = constants.get(node.input[at])
            wanted = state.type.tensor_type.elem_type
            if constant is None or (constant.data_type, wanted) != (
                onnx.TensorProto.INT64,
                onnx.TensorProto.INT32,
            ):
                continue
            name = free_name(f"{constant.name}__int32", taken)
            taken.add(name)
            array = onnx.numpy_helper.to_array(constant).astype(np.int32)
            graph.initializer.append(onnx.numpy_helper.from_array(array, name))
            node.input[at] = name


def _state_sizes(model: Any) -> None:
    """Make each Resize with constant scales give the right size.

    A size is the floor of a product, for example of 5 and the float32 nearest to 7/5. Which side
    of 7 that is on depends on who computes it: `onnx.checker` says 6, onnxruntime 7, but
    onnxruntime makes 30 of 7 and 31/7. So sizes replace the scales, if all are static. An open
    batch would need the attribute ``axes``, with which onnxruntime's own optimizer makes a model
    that it then refuses. There, a scale that is too small is raised.
    """
    import onnx

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    scaled = [
        node
        for node in nodes(graph)
        if node.op_type == "Resize" and len(node.input) == 3 and node.input[2] in constants
    ]
    if not scaled:
        return
    shapes = _shapes(model, {node.input[2] for node in scaled})
    taken = taken_names(graph)
    for node in scaled:
        before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
        if before is None or after is None:
            continue
        name = free_name(f"{node.output[0]}__sizes", taken)
        taken.add(name)
        if None in after:
            scales = onnx.numpy_helper.to_array(constants[node.input[2]])
            array = _raised(scales, before, after)
            node.input[2] = name
        else:
            array = np.array(after, np.int64)
            node.input[:] = [node.input[0], node.input[1], "", name]
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))


def _raised(
    scales: NDArray[Any], before: Sequence[int | None], after: Sequence[int | None]
) -> NDArray[Any]:
    """Return ``scales``, as little larger as gives the sizes ``after`` in float32."""
    raised: NDArray[Any] = scales.copy()
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        while old and new and np.floor(np.float32(old) * raised[at]) < new:
            raised[at] = np.nextafter(raised[at], np.float32(np.inf))
    return raised


def _shapes(model: Any, scales: set[str]) -> dict[str, list[int | None]]:
    """Return the shapes of the tensors of ``model`` with ``scales`` that are rounded up.

    Rounded up, a scale gives the right size whoever computes it, because a product that is too
    large by a rounding has the same floor.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in scales:
            array = onnx.numpy_helper.to_array(tensor)
            up = np.where(array == 1, array, array * np.float32(1 + 1e-6)).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(up, tensor.name))
    graph = onnx.shape_inference.infer_shapes(copy).graph
    return {
        value.name: [
            dim.dim_value if dim.HasField("dim_value") else None
            for dim in value.type.tensor_type.shape.dim
        ]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
