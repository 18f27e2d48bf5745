"""The faults of an ONNX model that change more than one constant or attribute."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.mutations.onnx_model import (
    Step,
    add_constant,
    insert_after,
    put_attribute,
    put_constant,
)
from benchmarks.mutations.values import round_to
from benchmarks.mutations.weights import WeightedLayer

_FLOAT, _FLOAT16 = 1, 10
"""ONNX's numbers of these dtypes: ``TensorProto.FLOAT`` and ``TensorProto.FLOAT16``."""


def swap_outputs(model: Any, one: str, other: str) -> None:
    """Exchange two outputs; the interface stays the same."""
    exchanged = {one: other, other: one}
    for node in model.graph.node:
        node.input[:] = [exchanged.get(name, name) for name in node.input]
        node.output[:] = [exchanged.get(name, name) for name in node.output]


def concat_along(model: Any, output: str, axis: int, shape: tuple[int, ...]) -> None:
    """Concatenate along ``axis`` and reshape the result to the old shape."""
    put_attribute(model, "axis", axis, output)
    insert_after(model, output, [("Reshape", [np.array(shape, np.int64)], {})])


def exchange_axes(model: Any, output: str, one: int, other: int, shape: tuple[int, ...]) -> None:
    """Exchange two axes of a tensor and reshape the result to the old shape."""
    order = list(range(len(shape)))
    order[one], order[other] = other, one
    reshape: Step = ("Reshape", [np.array(shape, np.int64)], {})
    insert_after(model, output, [("Transpose", [], {"perm": order}), reshape])


def through_float16(model: Any, output: str, scale: float) -> None:
    """Cast a tensor, scaled by ``scale``, to float16 and back."""
    factor = np.array(scale, np.float32)
    half: list[Step] = [("Cast", [], {"to": _FLOAT16}), ("Cast", [], {"to": _FLOAT})]
    insert_after(model, output, [("Mul", [factor], {}), *half, ("Div", [factor], {})])


def half_layer(model: Any, layer: WeightedLayer) -> None:
    """Round a layer's weights, bias and result to float16."""
    layer.put_weight(model, round_to(layer.weight, "float16"))
    if layer.bias is not None:
        layer.put_bias(model, round_to(layer.bias, "float16"))
    half: list[Step] = [("Cast", [], {"to": _FLOAT16}), ("Cast", [], {"to": _FLOAT})]
    insert_after(model, layer.name, half)


def nan_for(
    model: Any,
    source: str,
    trigger: int,
    value: Any,
    output: str,
    shape: tuple[int, ...],
    element: tuple[int, ...],
) -> None:
    """Make one element of ``output`` NaN when one element of an input has one value."""
    from onnx import helper

    where = np.zeros(shape, bool)
    where[element] = True
    constants = {
        "flat": np.array([-1], np.int64),
        "trigger": np.array([trigger], np.int64),
        "value": np.array([value]),
        "where": where,
    }
    flat, index, wanted, mask = (
        add_constant(model, f"nan__{name}", array) for name, array in constants.items()
    )
    nodes = [
        helper.make_node("Reshape", [source, flat], ["nan__all"]),
        helper.make_node("Gather", ["nan__all", index], ["nan__one"]),
        helper.make_node("Equal", ["nan__one", wanted], ["nan__is"]),
        helper.make_node("And", ["nan__is", mask], ["nan__at"]),
    ]
    for at, node in enumerate(nodes):
        model.graph.node.insert(at, node)
    insert_after(model, output, [("Where", ["nan__at", np.array(np.nan, np.float32), None], {})])


def slice_between(model: Any, output: str, bounds: NDArray[Any]) -> None:
    """Give a Slice other starts and ends: the rows of ``bounds``."""
    for slot, row in enumerate(bounds, start=1):
        put_constant(model, row.astype(np.int64), output, slot)
