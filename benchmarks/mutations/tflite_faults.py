"""The faults of a TFLite model that change more than one constant or option."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.mutations.flatbuffer import (
    add_constant,
    add_operator,
    add_tensor,
    put_constant,
    put_options,
    set_aside,
)
from benchmarks.mutations.values import round_to
from benchmarks.mutations.weights import WeightedLayer

_FLOAT32, _FLOAT16 = 0, 1
_VALID = 1
"""The schema's numbers: ``TensorType`` and ``Padding``."""


def swap_outputs(model: Any, one: str, other: str) -> None:
    """Exchange two outputs of the signature."""
    outputs = {output.name.decode(): output for output in model.signatureDefs[0].outputs}
    first, second = outputs[one], outputs[other]
    first.tensorIndex, second.tensorIndex = second.tensorIndex, first.tensorIndex


def pad_explicitly(model: Any, at: int, pads: list[list[int]], shape: tuple[int, ...]) -> None:
    """Pad the input of a convolution, with ``shape``, by ``pads`` instead of ``SAME``."""
    operator = model.subgraphs[0].operators[at]
    all_pads = [[0, 0], *pads, [0, 0]]
    padded = [size + sum(pad) for size, pad in zip(shape, all_pads, strict=True)]
    output = add_tensor(model, "padded", "float32", padded)
    amounts = add_constant(model, "pads", np.array(all_pads, np.int32))
    inputs = operator.inputs.copy()
    add_operator(model, at, "PAD", [int(inputs[0]), amounts], output)
    inputs[0] = output
    operator.inputs = inputs
    operator.builtinOptions.padding = _VALID


def concat_along(model: Any, at: int, axis: int, shape: tuple[int, ...]) -> None:
    """Concatenate along ``axis`` and reshape the result to the old shape."""
    put_options(model, {"axis": axis}, at)
    clean, wanted = set_aside(model, at)
    _reshape(model, at + 1, clean, wanted, shape)


def softmax_across(model: Any, at: int, shape: tuple[int, ...]) -> None:
    """Normalize over the second-to-last axis, by exchanging it with the last before and after."""
    rank = len(shape)
    order = [*range(rank - 2), rank - 1, rank - 2]
    turned = [shape[axis] for axis in order]
    operator = model.subgraphs[0].operators[at]
    perm = add_constant(model, "order", np.array(order, np.int32))
    before = add_tensor(model, "turned", "float32", turned)
    source = int(operator.inputs[0])
    operator.inputs = np.array([before], np.int32)
    after, wanted = set_aside(model, at)
    model.subgraphs[0].tensors[after].shape = np.array(turned, np.int32)
    add_operator(model, at + 1, "TRANSPOSE", [after, perm], wanted)
    add_operator(model, at, "TRANSPOSE", [source, perm], before)


def exchange_axes(model: Any, at: int, one: int, other: int, shape: tuple[int, ...]) -> None:
    """Exchange two axes of a tensor and reshape the result to the old shape."""
    order = list(range(len(shape)))
    order[one], order[other] = other, one
    clean, wanted = set_aside(model, at)
    turned = add_tensor(model, "turned", "float32", [shape[axis] for axis in order])
    perm = add_constant(model, "order", np.array(order, np.int32))
    add_operator(model, at + 1, "TRANSPOSE", [clean, perm], turned)
    _reshape(model, at + 2, turned, wanted, shape)


def through_float16(model: Any, at: int, scale: float, shape: tuple[int, ...]) -> None:
    """Cast a tensor, scaled by ``scale``, to float16 and back."""
    from ai_edge_litert import schema_py_generated as schema

    clean, wanted = set_aside(model, at)
    factor = add_constant(model, "scale", np.array(scale, np.float32))
    large = add_tensor(model, "large", "float32", shape)
    half = add_tensor(model, "half", "float16", shape)
    back = add_tensor(model, "back", "float32", shape)
    add_operator(model, at + 1, "MUL", [clean, factor], large, schema.MulOptionsT())
    add_operator(model, at + 2, "CAST", [large], half, _cast(_FLOAT32, _FLOAT16))
    add_operator(model, at + 3, "CAST", [half], back, _cast(_FLOAT16, _FLOAT32))
    add_operator(model, at + 4, "DIV", [back, factor], wanted, schema.DivOptionsT())


def half_layer(model: Any, at: int, layer: WeightedLayer, shape: tuple[int, ...]) -> None:
    """Round a layer's weights, bias and result to float16."""
    layer.put_weight(model, round_to(layer.weight, "float16"))
    if layer.bias is not None:
        layer.put_bias(model, round_to(layer.bias, "float16"))
    clean, wanted = set_aside(model, at)
    half = add_tensor(model, "half", "float16", shape)
    add_operator(model, at + 1, "CAST", [clean], half, _cast(_FLOAT32, _FLOAT16))
    add_operator(model, at + 2, "CAST", [half], wanted, _cast(_FLOAT16, _FLOAT32))


def nan_for(
    model: Any,
    trigger: int,
    value: Any,
    at: int,
    shape: tuple[int, ...],
    element: tuple[int, ...],
) -> None:
    """Make one element of the output of operator ``at`` NaN for one value of an input element."""
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = model.subgraphs
    source = int(graph.inputs[0])
    size = int(np.prod(graph.tensors[source].shape))
    where = np.zeros(shape, bool)
    where[element] = True
    dtype = np.asarray(value).dtype.name
    clean, wanted = set_aside(model, at)
    everything = add_tensor(model, "nan_all", dtype, [size])
    picked = add_tensor(model, "nan_one", dtype, [1])
    is_trigger = add_tensor(model, "nan_is", "bool", [1])
    condition = add_tensor(model, "nan_at", "bool", shape)
    index = add_constant(model, "nan_index", np.array([trigger], np.int32))
    wanted_value = add_constant(model, "nan_value", np.array([value]))
    mask = add_constant(model, "nan_mask", where)
    nan = add_constant(model, "nan", np.array(np.nan, np.float32))
    _reshape(model, at + 1, source, everything, (size,))
    gather = schema.GatherOptionsT()
    add_operator(model, at + 2, "GATHER", [everything, index], picked, gather)
    add_operator(model, at + 3, "EQUAL", [picked, wanted_value], is_trigger, schema.EqualOptionsT())
    add_operator(
        model, at + 4, "LOGICAL_AND", [is_trigger, mask], condition, schema.LogicalAndOptionsT()
    )
    add_operator(
        model, at + 5, "SELECT_V2", [condition, nan, clean], wanted, schema.SelectV2OptionsT()
    )


def slice_between(model: Any, at: int, starts: list[int], ends: list[int]) -> None:
    """Give a strided slice other starts and ends."""
    put_constant(model, np.array(starts, np.int32), at, 1)
    put_constant(model, np.array(ends, np.int32), at, 2)
    put_options(model, {"beginMask": 0, "endMask": 0}, at)


def _reshape(model: Any, at: int, source: int, output: int, shape: tuple[int, ...]) -> None:
    new_shape = add_constant(model, f"shape{at}", np.array(shape, np.int32))
    add_operator(model, at, "RESHAPE", [source, new_shape], output)


def _cast(source: int, result: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    options = schema.CastOptionsT()
    options.inDataType, options.outDataType = source, result
    return options
